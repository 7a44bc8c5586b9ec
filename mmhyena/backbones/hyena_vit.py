"""HyenaViT: ViT and DeiT with a token mixer of choice in each block, and IBiT, which is one of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mmhyena.backbones.base import InitConfig, PlainBackbone, drop_path_rates
from mmhyena.backbones.norms import build_norm, normalize
from mmhyena.checks import check_choice, check_int, check_keys, check_rate, int_tuple
from mmhyena.layers.build import complete, takes
from mmhyena.layers.vit import PatchEmbed, ViTBlock, resample_grid, sincos_grid, sincos_sequence
from mmhyena.registry import MODELS

__all__ = ['HyenaViT', 'mixer_schedule']

_TINY = dict(embed_dims=192, num_layers=12, num_heads=3)
_SMALL = dict(embed_dims=384, num_layers=12, num_heads=6)
_BASE = dict(embed_dims=768, num_layers=12, num_heads=12)
_IBIT = dict(
    token_mixers='attention',
    attention=dict(type='LearnedMaskAttention', rank=9),
    with_cls_token=True,
    position='sincos_1d',
    residual_from_norm=True,
    final_norm=False,
    norm_eps=1e-5,
)
_SIZES = ('embed_dims', 'num_layers', 'num_heads')
_OUT_TYPES = ('cls_token', 'first_token', 'avg_featmap', 'featmap', 'raw')
_POSITIONS = ('learned', 'sincos', 'sincos_1d', 'none')


def mixer_schedule(schedule: str | Sequence[str | Mapping[str, Any]], num_layers: int) -> list[str | dict]:
    """Return the kind of mixer, ``'hyena'`` or ``'attention'``, or the mixer's config, of every block.

    Args:
        schedule: ``'hyena'`` or ``'attention'`` for all blocks; ``'hyena_first'`` for Hyena up to the middle and in
            one block beyond, then attention (blocks 0 to 6 of 12: the best hybrid of arXiv 2309.13600);
            ``'attention_first'`` for the same with both exchanged; ``'alternating'`` for Hyena in every even block; or
            a list with an entry per block.
        num_layers: Number of blocks.

    Raises:
        ValueError: If the schedule is not one of these or the list has another length.
    """
    first = num_layers // 2 + 1
    named: dict[str, Sequence[str]] = {
        'hyena': ['hyena'] * num_layers,
        'attention': ['attention'] * num_layers,
        'hyena_first': (['hyena'] * first + ['attention'] * num_layers)[:num_layers],
        'attention_first': (['attention'] * first + ['hyena'] * num_layers)[:num_layers],
        'alternating': [('hyena', 'attention')[i % 2] for i in range(num_layers)],
    }
    if not isinstance(schedule, Sequence) or isinstance(schedule, str):
        return list(named[check_choice('token_mixers', schedule, named, ', or a list')])
    if len(schedule) != num_layers:
        raise ValueError(f'token_mixers needs one entry for each of the {num_layers} blocks, got {len(schedule)}')
    entries: list[str | dict] = []
    for entry in schedule:
        if not isinstance(entry, Mapping) and entry not in ('hyena', 'attention'):
            raise ValueError(f"an entry of token_mixers is 'hyena', 'attention' or a config, got {entry!r}")
        entries.append(dict(entry) if isinstance(entry, Mapping) else str(entry))
    return entries


@MODELS.register_module()
class HyenaViT(PlainBackbone):
    """Plain vision transformer whose blocks mix by Hyena N-D, attention or any mixer, on images of any size.

    Hyena N-D in ViT and DeiT (arXiv 2309.13600, section 4.1): patches, learned positions and the shell of DeiT, no
    class token, mean over the patches for classification. IBiT (arXiv 2509.22719) has learned masks, a class token,
    a fixed positional encoding and residuals from the normalized input.

    Args:
        arch: ``'deit_tiny'``, ``'deit_small'``, ``'deit_base'`` (``'vit_tiny'`` and so on are the same),
            ``'ibit_tiny'``, or a dict with ``embed_dims``, ``num_layers`` and ``num_heads``. It may hold values for
            those of the arguments below that are None by default, other than ``out_type`` and ``norm_cfg``.
        img_size: Image size in pixels that positions and kernels are made for, an integer or ``(H, W)``. Other
            sizes work too: positions and filters are resampled.
        patch_size: Patch size in pixels on both axes.
        in_channels: Channels of the image.
        out_indices: Blocks whose features are returned, an integer or a sequence; negative ones count from the end.
        out_type: ``'cls_token'`` or ``'avg_featmap'`` give ``(B, C)`` for classifiers, ``'featmap'`` feature maps
            ``(B, C, H, W)``, ``'raw'`` the tokens ``(B, L, C)``. None is ``'cls_token'`` with a class token and
            ``'avg_featmap'`` without. ``'first_token'`` is the first token of either kind: without a class token the
            top-left patch, which is what the official Hyena N-D classifier reads.
        token_mixers: The mixer of each block, see :func:`mixer_schedule`; ``'hyena'`` by default.
        hyena: Config of the Hyena mixer, :class:`~mmhyena.layers.HyenaND` by default. Blocks with
            ``direction='alternating'`` are numbered among themselves, so neighbors look in opposite directions in
            hybrids as well.
        attention: Config of the attention mixer; DeiT's by default.
        with_cls_token: Whether a class token precedes the patches; False by default. All mixers must take one.
        position: ``'learned'`` (default), ``'sincos'``, ``'sincos_1d'`` or ``'none'``. ``'sincos_1d'`` is IBiT's
            published encoding of the tokens in row-major order, class token first, and the default of
            ``'ibit_tiny'``, since published weights work with no other; it is made for ``img_size`` and resampled to
            other grids. ``'sincos'`` encodes rows and columns separately, so a position keeps its encoding on every
            grid: better for training from scratch on images of many sizes.
        residual_from_norm: Whether residuals carry the normalized input, see :class:`~mmhyena.layers.ViTBlock`.
        final_norm: Whether the last block's output is normalized; True by default.
        norm_eps: Epsilon of the norms of the blocks and, without ``norm_cfg``, of the final one; 1e-6 by default, 1e-5
            in ``'ibit_tiny'``.
        norm_cfg: Config of the final norm, see :func:`~mmhyena.backbones.norms.build_norm`; layer norm if
            None.
        mlp_ratio: Width of the channel MLPs in multiples of C.
        drop_rate: Rate of dropout after positions, mixers and MLPs.
        drop_path_rate: Rate of stochastic depth of the last block.
        drop_path_schedule: ``'linear'``, rising from 0 at the first block, or ``'constant'``, as in IBiT.
        drop_path_mlp: Whether stochastic depth applies to the MLPs as well as to the token mixers; IBiT's does not.
        frozen_stages: -1 freezes nothing, 0 patches and positions, ``n`` also the first ``n`` blocks.
        norm_eval: Whether batch norms, of the output or in a token mixer, keep their running statistics fixed.
        with_cp: Whether blocks recompute their activations in the backward pass to save memory.
        init_cfg: MMEngine's initialization config. ``type='Pretrained'`` takes official checkpoints and ours.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    default_init_cfg = (dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),)
    arch_settings: Mapping[str, Mapping[str, Any]] = {
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
        arch: str | Mapping[str, Any] = 'deit_tiny',
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
        norm_eps: float | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        drop_path_schedule: str = 'linear',
        drop_path_mlp: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: InitConfig = None,
    ) -> None:
        given: dict[str, Any] = dict(
            token_mixers=token_mixers, hyena=hyena, attention=attention, with_cls_token=with_cls_token
        )
        given |= dict(position=position, residual_from_norm=residual_from_norm, final_norm=final_norm)
        given['norm_eps'] = norm_eps
        settings = self._resolve_settings(arch, given)
        self.embed_dims, self.num_layers, self.num_heads = (settings[key] for key in _SIZES)
        super().__init__(self.num_layers, 'blocks', out_indices, frozen_stages, norm_eval, init_cfg)
        check_int('patch_size', patch_size)
        check_rate('drop_rate', drop_rate)
        self.patch_resolution = tuple(-(-size // patch_size) for size in int_tuple('img_size', img_size, 2))
        self.with_cls_token = settings['with_cls_token']
        self.out_type = self._resolve_out_type(out_type)
        self.position = check_choice('position', settings['position'], _POSITIONS)

        self.patch_embed = PatchEmbed(check_int('in_channels', in_channels), self.embed_dims, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims)) if self.with_cls_token else None
        # The place of the class token needs no entry: its position would only be added to the token itself.
        table = torch.zeros(1, *self.patch_resolution, self.embed_dims) if self.position == 'learned' else None
        self.pos_embed = None if table is None else nn.Parameter(table)
        self.drop_after_pos = nn.Dropout(drop_rate)
        if self.position == 'sincos_1d':
            encoding = sincos_sequence(self.with_cls_token + prod(self.patch_resolution), self.embed_dims)
            self.register_buffer('position_encoding', encoding, persistent=False)  # (N, C), class token first
        rates = drop_path_rates(drop_path_rate, self.num_layers, drop_path_schedule)
        shell = dict(residual_from_norm=settings['residual_from_norm'], with_cp=with_cp)
        shell |= dict(norm_eps=settings['norm_eps'], drop_path_mlp=drop_path_mlp)
        self.layers = nn.ModuleList(
            ViTBlock(self.embed_dims, mixer, mlp_ratio, drop_rate, rate, **shell)
            for mixer, rate in zip(self._mixers(settings), rates)
        )
        self.norm: nn.Module = nn.Identity()
        if settings['final_norm']:
            self.norm = build_norm(norm_cfg or dict(type='LN', eps=settings['norm_eps']), self.embed_dims, ndim=2)
        self._check_class_token()
        self._finish()

    @classmethod
    def _resolve_settings(cls, arch: str | Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return sizes and shell: what is given to the constructor, else what ``arch`` says, else DeiT's."""
        if isinstance(arch, Mapping):
            chosen = dict(arch)
        else:
            chosen = dict(cls.arch_settings[check_choice('arch', arch, cls.arch_settings, ', or a dict')])
        check_keys('arch', chosen, _SIZES, given)
        sizes = {key: check_int(f'{key} of arch', chosen[key]) for key in _SIZES}
        if sizes['embed_dims'] % sizes['num_heads']:
            raise ValueError(
                f'embed_dims of arch must be a multiple of num_heads, got {sizes["embed_dims"]} and '
                f'{sizes["num_heads"]}'
            )
        head_dim = sizes['embed_dims'] // sizes['num_heads']
        defaults: dict[str, Any] = dict(
            token_mixers='hyena',
            hyena=dict(type='HyenaND'),
            attention=dict(type='Attention', head_dim=head_dim, qkv_bias=True, proj_bias=True),
            with_cls_token=False,
            position='learned',
            residual_from_norm=False,
            final_norm=True,
            norm_eps=1e-6,
        )
        return defaults | chosen | sizes | {name: value for name, value in given.items() if value is not None}

    def _resolve_out_type(self, out_type: str | None) -> str:
        if out_type is None:
            return 'cls_token' if self.with_cls_token else 'avg_featmap'
        check_choice('out_type', out_type, _OUT_TYPES)
        if out_type == 'cls_token' and not self.with_cls_token:
            raise ValueError("out_type 'cls_token' needs with_cls_token=True; take 'avg_featmap' without one")
        return out_type

    def _mixers(self, settings: Mapping[str, Any]) -> list[dict]:
        """Return the config of every block's mixer, with what it needs to know of grid, depth and class token."""
        known = dict(map_size=self.patch_resolution, num_heads=self.num_heads, class_token=self.with_cls_token)
        mixers, numbered = [], 0
        for entry in mixer_schedule(settings['token_mixers'], self.num_layers):
            mixer = copy.deepcopy(dict(settings[entry] if isinstance(entry, str) else entry))
            mixers.append(complete(mixer, **known, block_index=numbered))
            numbered += takes(mixer, 'block_index')
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

    def _init_parts(self) -> None:
        super()._init_parts()
        for parameter in (self.pos_embed, self.cls_token):
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=0.02)

    def resize_weights(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Resample long filters and learned positions made for another image size to this backbone's."""
        result, notes = super().resize_weights(state)
        table = state.get('pos_embed')
        if table is not None and self.pos_embed is not None and table.dim() == 4:
            old, new = tuple(table.shape[1:3]), self.patch_resolution
            if old != new:
                result['pos_embed'] = resample_grid(table, new)
                notes['pos_embed'] = f'{old[0]}x{old[1]} to {new[0]}x{new[1]} positions'
        return result, notes

    def _add_positions(self, x: Tensor) -> Tensor:
        """Add the positional encoding to patches ``(B, h, w, C)``."""
        if self.pos_embed is not None:
            return x + resample_grid(self.pos_embed, x.shape[1:3])
        if self.position == 'sincos':
            return x + sincos_grid(x.shape[1:3], self.embed_dims, x.device).to(x.dtype)
        if self.position == 'sincos_1d':
            grid = self.position_encoding[int(self.with_cls_token) :].unflatten(0, self.patch_resolution)
            return x + resample_grid(grid[None], x.shape[1:3]).to(x.dtype)
        return x

    def _class_token(self, token: Tensor) -> Tensor:
        """Add the positional encoding to the class token ``(1, 1, C)``."""
        return token + self.position_encoding[:1].to(token) if self.position == 'sincos_1d' else token

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``x`` ``(B, in_channels, H, W)``, as ``out_type`` says, for each of ``out_indices``.

        Feature maps have ``ceil(H / patch_size)`` by ``ceil(W / patch_size)`` positions.
        """
        x = self.patch_embed(x)  # (B, h, w, C)
        spatial = tuple(x.shape[1:3])
        x = self.drop_after_pos(self._add_positions(x))
        if self.cls_token is not None:
            # x.shape[0] and not len(x), which is a number of its own in an exported graph.
            class_token = self._class_token(self.cls_token).expand(x.shape[0], -1, -1)
            x = torch.cat([class_token, x.flatten(1, 2)], dim=1)  # (B, 1 + h * w, C)
        outs = []
        for i, layer in enumerate(self.layers):
            x = layer(x, spatial)
            if i == self.num_layers - 1:
                x = normalize(self.norm, x)
            if i in self.out_indices:
                outs.append(self._output(x, spatial))
            if i == self.out_indices[-1]:
                break
        return tuple(outs)

    def _output(self, x: Tensor, spatial: Sequence[int]) -> Tensor:
        tokens = x.flatten(1, -2)  # (B, L, C)
        if self.out_type == 'raw':
            return tokens
        if self.out_type in ('cls_token', 'first_token'):
            return tokens[:, 0]
        patches = tokens[:, int(self.with_cls_token) :]
        if self.out_type == 'avg_featmap':
            return patches.mean(1)
        return patches.transpose(1, 2).unflatten(2, tuple(spatial)).contiguous()  # (B, C, h, w)

    def _frozen_modules(self) -> Iterable[nn.Module]:
        yield from super()._frozen_modules()
        if self.frozen_stages >= 0:
            yield self.drop_after_pos
        if self.frozen_stages == self.num_layers or self.out_indices[-1] < self.num_layers - 1:
            yield self.norm

    def _freeze_stages(self) -> None:
        super()._freeze_stages()
        if self.frozen_stages >= 0:
            for parameter in (self.pos_embed, self.cls_token):
                if parameter is not None:
                    parameter.requires_grad_(False)
