"""HyenaViT: ViT and DeiT with a token mixer of choice in each block, and IBiT, which is one of them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhyena.checkpoints import PretrainedMixin
from mmhyena.layers.vit import PatchEmbed, ViTBlock, resample_grid, sincos_grid
from mmhyena.registry import MODELS

__all__ = ['HyenaViT', 'mixer_schedule']

_TINY = dict(embed_dims=192, num_layers=12, num_heads=3)
_SMALL = dict(embed_dims=384, num_layers=12, num_heads=6)
_BASE = dict(embed_dims=768, num_layers=12, num_heads=12)
_IBIT = dict(
    token_mixers='attention',
    attention=dict(type='LearnedMaskAttention', rank=9),
    with_cls_token=True,
    position='sincos',
    residual_from_norm=True,
    final_norm=False,
)
_OUT_TYPES = ('cls_token', 'avg_featmap', 'featmap', 'raw')
_POSITIONS = ('learned', 'sincos', 'none')


def mixer_schedule(schedule: str | Sequence[str | dict], num_layers: int) -> list[str | dict]:
    """Return the kind of mixer, ``'hyena'`` or ``'attention'``, or the mixer's config, of every block.

    Args:
        schedule: ``'hyena'`` or ``'attention'`` for all blocks; ``'hyena_first'`` for Hyena up to the middle and in
            one block beyond, then attention (blocks 0 to 6 of 12: the best hybrid of arXiv 2309.13600);
            ``'attention_first'`` for the same with both exchanged; ``'alternating'`` for Hyena in every even block; or
            a list with an entry a block.
        num_layers: Number of blocks.

    Raises:
        ValueError: If the schedule is not one of these or the list has another length.
    """
    first = num_layers // 2 + 1
    named = {
        'hyena': ['hyena'] * num_layers,
        'attention': ['attention'] * num_layers,
        'hyena_first': ['hyena'] * first + ['attention'] * (num_layers - first),
        'attention_first': ['attention'] * first + ['hyena'] * (num_layers - first),
        'alternating': [('hyena', 'attention')[i % 2] for i in range(num_layers)],
    }
    if isinstance(schedule, str):
        if schedule not in named:
            raise ValueError(f'token_mixers {schedule!r} is unknown; choose one of {", ".join(named)}, or give a list')
        return named[schedule]
    if len(schedule) != num_layers:
        raise ValueError(f'token_mixers needs one entry for each of the {num_layers} blocks, got {len(schedule)}')
    for entry in schedule:
        if not isinstance(entry, dict) and entry not in ('hyena', 'attention'):
            raise ValueError(f"an entry of token_mixers is 'hyena', 'attention' or a config, got {entry!r}")
    return list(schedule)


@MODELS.register_module()
class HyenaViT(PretrainedMixin):
    """Plain vision transformer whose blocks mix by Hyena N-D, attention or any mixer, on images of any size.

    Hyena N-D in ViT and DeiT (arXiv 2309.13600, section 4.1): patches, learned positions and the shell of DeiT, no
    class token, mean over the patches for classification. IBiT (arXiv 2509.22719) is the same with learned masks, a
    class token and fixed positions; its positions are coded in 2-D here so that they serve any grid.

    Args:
        arch: ``'deit_tiny'``, ``'deit_small'``, ``'deit_base'`` (``'vit_tiny'`` and so on are the same),
            ``'ibit_tiny'``, or a dict with ``embed_dims``, ``num_layers`` and ``num_heads``. It may hold values for
            those of the arguments below that are None by default.
        img_size: Pixels of the images that positions and kernels are made for, a number or ``(H, W)``. Other
            sizes work too: positions and filters are resampled.
        patch_size: Pixels of a patch on both axes.
        in_channels: Channels of the image.
        out_indices: Blocks whose features come out; negative ones count from the end.
        out_type: ``'cls_token'`` or ``'avg_featmap'`` give ``(B, C)`` for classifiers, ``'featmap'`` maps
            ``(B, C, H, W)``, ``'raw'`` the tokens ``(B, L, C)``. None is ``'cls_token'`` with a class token and
            ``'avg_featmap'`` without.
        token_mixers: The mixer of each block, see :func:`mixer_schedule`; ``'hyena'`` by default.
        hyena: Config of the Hyena mixer, :class:`~mmhyena.layers.HyenaND` by default. Blocks with
            ``direction='alternating'`` are numbered among themselves, so neighbours look in opposite directions in
            hybrids as well.
        attention: Config of the attention mixer; DeiT's by default.
        with_cls_token: Whether a class token stands before the patches; False by default. All mixers must take one.
        position: ``'learned'`` (default), ``'sincos'`` or ``'none'``.
        residual_from_norm: Whether residuals carry the normalised input, see :class:`~mmhyena.layers.ViTBlock`.
        final_norm: Whether the last block's output is normalised; True by default.
        mlp_ratio: Width of the channel MLPs in multiples of C.
        drop_rate: Dropout behind positions, mixers and MLPs.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        frozen_stages: -1 freezes nothing, 0 patches and positions, ``n`` also the first ``n`` blocks.
        norm_eval: Whether batch norms, which a token mixer of yours may hold, keep their running statistics fixed.
        with_cp: Whether blocks compute their activations again in the backward to save memory.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    arch_settings = {
        'deit_tiny': _TINY,
        'deit_small': _SMALL,
        'deit_base': _BASE,
        'vit_tiny': _TINY,
        'vit_small': _SMALL,
        'vit_base': _BASE,
        'ibit_tiny': dict(_TINY, **_IBIT),
    }

    def __init__(
        self,
        arch: str | dict = 'deit_tiny',
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        out_indices: int | Sequence[int] = -1,
        out_type: str | None = None,
        token_mixers: str | Sequence[str | dict] | None = None,
        hyena: dict | None = None,
        attention: dict | None = None,
        with_cls_token: bool | None = None,
        position: str | None = None,
        residual_from_norm: bool | None = None,
        final_norm: bool | None = None,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        arch = self._resolve_arch(arch)
        self.embed_dims, self.num_layers, self.num_heads = (arch[k] for k in ('embed_dims', 'num_layers', 'num_heads'))
        pixels = (img_size,) * 2 if isinstance(img_size, int) else tuple(img_size)
        self.patch_resolution = tuple(-(-size // patch_size) for size in pixels)
        given = dict(position=position, with_cls_token=with_cls_token, final_norm=final_norm)
        given |= dict(token_mixers=token_mixers, hyena=hyena, attention=attention)
        given |= dict(residual_from_norm=residual_from_norm)
        settings = self._defaults() | arch | {name: value for name, value in given.items() if value is not None}
        self.with_cls_token = settings['with_cls_token']
        self.out_indices = self._resolve_indices(out_indices)
        self.out_type = self._resolve_out_type(out_type)
        self.frozen_stages = self._resolve_frozen(frozen_stages)
        self.norm_eval = norm_eval

        self.patch_embed = PatchEmbed(in_channels, self.embed_dims, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims)) if self.with_cls_token else None
        self._make_positions(settings['position'])
        self.drop_after_pos = nn.Dropout(drop_rate)
        drop_rates = [drop_path_rate * i / max(self.num_layers - 1, 1) for i in range(self.num_layers)]
        self.layers = nn.ModuleList(
            ViTBlock(self.embed_dims, mixer, mlp_ratio, drop_rate, rate, settings['residual_from_norm'], with_cp)
            for mixer, rate in zip(self._mixers(settings), drop_rates)
        )
        self.norm = nn.LayerNorm(self.embed_dims, eps=1e-6) if settings['final_norm'] else nn.Identity()
        self._check_class_token()
        self._init_own_weights()
        self._freeze_stages()

    def _resolve_arch(self, arch: str | dict) -> dict:
        if isinstance(arch, str):
            if arch not in self.arch_settings:
                raise ValueError(f'arch {arch!r} is unknown; choose one of {", ".join(self.arch_settings)}, or a dict')
            return self.arch_settings[arch]
        missing = {'embed_dims', 'num_layers', 'num_heads'} - set(arch)
        if missing:
            raise ValueError(f'arch lacks {", ".join(sorted(missing))}')
        return dict(arch)

    def _defaults(self) -> dict:
        attention = dict(type='Attention', head_dim=self.embed_dims // self.num_heads, qkv_bias=True, proj_bias=True)
        return dict(
            token_mixers='hyena',
            hyena=dict(type='HyenaND'),
            attention=attention,
            with_cls_token=False,
            position='learned',
            residual_from_norm=False,
            final_norm=True,
        )

    def _resolve_indices(self, out_indices: int | Sequence[int]) -> tuple[int, ...]:
        wanted = (out_indices,) if isinstance(out_indices, int) else tuple(out_indices)
        indices = tuple(sorted(i + self.num_layers if i < 0 else i for i in wanted))
        if not indices or len(set(indices)) < len(indices) or not all(0 <= i < self.num_layers for i in indices):
            raise ValueError(f'out_indices must be distinct blocks of 0 to {self.num_layers - 1}, got {wanted}')
        return indices

    def _resolve_out_type(self, out_type: str | None) -> str:
        if out_type is None:
            return 'cls_token' if self.with_cls_token else 'avg_featmap'
        if out_type not in _OUT_TYPES:
            raise ValueError(f'out_type must be one of {", ".join(_OUT_TYPES)}, got {out_type!r}')
        if out_type == 'cls_token' and not self.with_cls_token:
            raise ValueError("out_type 'cls_token' needs with_cls_token=True; take 'avg_featmap' without one")
        return out_type

    def _resolve_frozen(self, frozen_stages: int) -> int:
        if not -1 <= frozen_stages <= self.num_layers:
            raise ValueError(f'frozen_stages must be -1 to {self.num_layers}, got {frozen_stages}')
        return frozen_stages

    def _make_positions(self, position: str) -> None:
        if position not in _POSITIONS:
            raise ValueError(f'position must be one of {", ".join(_POSITIONS)}, got {position!r}')
        self.position = position
        # The place of the class token needs no entry: its position would only be added to the token itself.
        shape = (1, *self.patch_resolution, self.embed_dims)
        self.pos_embed = nn.Parameter(torch.zeros(shape)) if position == 'learned' else None

    def _mixers(self, settings: dict) -> list[dict]:
        """Return the config of every block's mixer, with what it needs to know of grid, depth and class token."""
        mixers, hyena_blocks = [], 0
        for entry in mixer_schedule(settings['token_mixers'], self.num_layers):
            mixer = copy.deepcopy(dict(settings[entry] if isinstance(entry, str) else entry))
            known = dict(
                map_size=self.patch_resolution,
                num_heads=self.num_heads,
                class_token=self.with_cls_token,
                block_index=hyena_blocks,
            )
            takes = inspect.signature(_mixer_class(mixer['type'])).parameters
            mixer = {name: value for name, value in known.items() if name in takes} | mixer
            hyena_blocks += 'block_index' in takes
            mixers.append(mixer)
        return mixers

    def _check_class_token(self) -> None:
        if not self.with_cls_token:
            return
        for i, layer in enumerate(self.layers):
            if not getattr(layer.token_mixer, 'accepts_class_token', False):
                raise ValueError(
                    f'{type(layer.token_mixer).__name__} of block {i} cannot mix a class token, which has no place on '
                    'the grid; set with_cls_token=False'
                )

    def _init_own_weights(self) -> None:
        """Initialise the shell as DeiT does; what a mixer keeps besides its projections is the mixer's business."""
        if self.pos_embed is not None:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        for layer in self.layers:
            projections = [m for m in layer.token_mixer.children() if isinstance(m, nn.Linear)]
            for linear in (*projections, layer.mlp[0], layer.mlp[2]):
                nn.init.trunc_normal_(linear.weight, std=0.02)
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)

    def resize_weights(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Bring long filters and learned positions made for another image size to this backbone's."""
        result, notes = super().resize_weights(state)
        table = state.get('pos_embed')
        if table is not None and self.pos_embed is not None and table.dim() == 4:
            old, new = tuple(table.shape[1:3]), self.patch_resolution
            if old != new:
                result['pos_embed'] = resample_grid(table, new).to(table.dtype)
                notes['pos_embed'] = f'{old[0]}x{old[1]} to {new[0]}x{new[1]} positions'
        return result, notes

    def _positions(self, spatial: Sequence[int], like: Tensor) -> Tensor | float:
        if self.position == 'learned':
            return resample_grid(self.pos_embed, spatial)
        if self.position == 'sincos':
            return sincos_grid(spatial, self.embed_dims).to(like)
        return 0.0

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``x`` ``(B, in_channels, H, W)``, as ``out_type`` says, for each of ``out_indices``.

        Maps have ``ceil(H / patch_size)`` by ``ceil(W / patch_size)`` places.
        """
        x = self.patch_embed(x)  # (B, h, w, C)
        spatial = tuple(x.shape[1:3])
        x = self.drop_after_pos(x + self._positions(spatial, x))
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)  # (B, 1 + h * w, C)
        outs = []
        for i, layer in enumerate(self.layers):
            x = layer(x, spatial)
            if i == self.num_layers - 1:
                x = self.norm(x)
            if i in self.out_indices:
                outs.append(self._output(x, spatial))
            if i == self.out_indices[-1]:
                break
        return tuple(outs)

    def _output(self, x: Tensor, spatial: Sequence[int]) -> Tensor:
        tokens = x.flatten(1, -2)  # (B, L, C)
        if self.out_type == 'raw':
            return tokens
        if self.out_type == 'cls_token':
            return tokens[:, 0]
        patches = tokens[:, int(self.with_cls_token) :]
        if self.out_type == 'avg_featmap':
            return patches.mean(1)
        return patches.transpose(1, 2).unflatten(2, tuple(spatial)).contiguous()  # (B, C, h, w)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for parameter in (self.pos_embed, self.cls_token):
            if parameter is not None:
                parameter.requires_grad_(False)
        self.drop_after_pos.eval()
        for module in (self.patch_embed, *self.layers[: self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)
        if self.frozen_stages == self.num_layers:
            self.norm.requires_grad_(False)

    def train(self, mode: bool = True) -> HyenaViT:
        """Set the mode; frozen stages stay in evaluation mode, and so do batch norms if ``norm_eval``."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the layer that a parameter belongs to, and the number of layers, for layer-wise learning rates.

        Patches and positions are layer 0, blocks are 1 to ``num_layers``; the final norm, necks and heads come after.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What stands before this backbone's own names, such as ``'backbone.'``.
        """
        depth = self.num_layers + 2
        if not param_name.startswith(prefix):
            return depth - 1, depth
        kind, *rest = param_name[len(prefix) :].split('.')
        if kind in ('cls_token', 'pos_embed', 'patch_embed'):
            return 0, depth
        return (int(rest[0]) + 1 if kind == 'layers' else depth - 1), depth


def _mixer_class(kind: str | type) -> type:
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    if found is None:
        raise ValueError(f'token mixer {kind!r} is not registered in mmhyena.registry.MODELS')
    return found
