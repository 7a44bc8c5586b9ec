"""Base of the backbones with four stages at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmhyena.backbones.base import BaseBackbone, InitConfig, drop_path_rates
from mmhyena.backbones.norms import normalize
from mmhyena.checks import check_choice, check_int, check_keys, check_ratio, int_tuple
from mmhyena.layers.build import complete, takes
from mmhyena.layers.long_conv import FilterResize

__all__ = ['PyramidBackbone', 'layer_of_block']

NUM_STAGES = 4


class PyramidBackbone(BaseBackbone):
    """Four stages of blocks, each behind a downsampling layer, with a norm for every output.

    A family gives the layers by :meth:`_make_downsample` and :meth:`_make_block`, which take and give
    ``(B, H, W, C)``. Token mixers that take a ``block_index`` are numbered among themselves.

    Args:
        arch: Name of an architecture in ``arch_settings``, the family's ``default_arch`` if None, or a dict with
            ``depths`` (blocks per stage), ``channels`` (per stage; ``dims`` means the same) and ``token_mixers`` (a
            config per stage), and optionally ``mlp_ratio``, the width of the channel MLPs in multiples of C.
        in_channels: Channels of the image.
        out_indices: Stages whose features are returned, an integer or a sequence; negative ones count from the end.
        frozen_stages: -1 freezes nothing, 0 the stem, ``n`` the stem and the first ``n`` stages.
        norm_eval: Whether batch norms, of outputs or in a token mixer, keep their running statistics fixed.
        with_cp: Whether blocks recompute their activations in the backward pass to save memory.
        drop_path_rate: Rate of stochastic depth of the last block; it rises linearly from 0 at the first.
        filter_resize: Whether and how long kernels grow with the feature map, see :class:`mmhyena.layers.LongConv`;
            None leaves it to the token mixers.
        gap_before_final_norm: Whether each output is the normalized mean over the pixels, ``(B, C)``, as a
            classifier needs it, instead of a normalized feature map.
        norm_cfg: Config of the output norms, ``type`` one of ``'LN'``, ``'BN'``, ``'SyncBN'`` and ``'GN'``. None is
            layer norm with an epsilon of 1e-5, or 1e-6 with ``gap_before_final_norm``.
        init_cfg: MMEngine's initialization config. ``type='Pretrained'`` takes official checkpoints and ours.

    Raises:
        ValueError: If an argument is not one of the above, or an input is smaller than 32 x 32.
    """

    arch_settings: Mapping[str, Mapping[str, Any]] = {}
    default_arch = ''
    min_size = 32

    def __init__(
        self,
        arch: str | Mapping[str, Any] | None = None,
        in_channels: int = 3,
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        drop_path_rate: float = 0.0,
        filter_resize: FilterResize | None = None,
        gap_before_final_norm: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: InitConfig = None,
    ) -> None:
        super().__init__(NUM_STAGES, 'stages', out_indices, frozen_stages, norm_eval, init_cfg)
        arch = self._resolve_arch(arch, ('depths', 'channels', 'token_mixers'))
        self.depths, self.embed_dims = arch['depths'], arch['channels']
        self.mlp_ratio = check_ratio('mlp_ratio of arch', arch.get('mlp_ratio', 4))
        self.gap_before_final_norm = gap_before_final_norm

        channels = (check_int('in_channels', in_channels), *self.embed_dims)
        self.downsample_layers = nn.ModuleList(
            self._make_downsample(i, channels[i], channels[i + 1]) for i in range(NUM_STAGES)
        )
        rates = iter(drop_path_rates(drop_path_rate, sum(self.depths)))
        mixers = iter(_block_mixers(arch, filter_resize))
        self.stages = nn.ModuleList(
            nn.Sequential(*(self._make_block(i, next(mixers), next(rates), with_cp) for _ in range(depth)))
            for i, depth in enumerate(self.depths)
        )
        if norm_cfg is None:
            # The official classifier and feature extractor of HyenaPixel differ in their epsilon.
            norm_cfg = dict(type='LN', eps=1e-6 if gap_before_final_norm else 1e-5)
        self._add_output_norms(self.embed_dims, norm_cfg, ndim=0 if gap_before_final_norm else 2)
        self._finish()

    def _make_downsample(self, stage: int, in_channels: int, out_channels: int) -> nn.Module:
        raise NotImplementedError

    def _make_block(self, stage: int, token_mixer: dict, drop_path_rate: float, with_cp: bool) -> nn.Module:
        raise NotImplementedError

    @classmethod
    def _resolve_arch(cls, arch: str | Mapping[str, Any] | None, keys: Sequence[str]) -> dict[str, Any]:
        """Return ``arch`` as a dict with ``keys``, and ``mlp_ratio`` if it has one; its lists of numbers as tuples."""
        arch = cls.default_arch if arch is None else arch
        if not isinstance(arch, Mapping):
            arch = cls.arch_settings[check_choice('arch', arch, cls.arch_settings, ', or a dict')]
        arch = dict(arch)
        if 'dims' in arch:
            if 'channels' in arch:
                raise ValueError('arch has both channels and dims, which mean the same; keep channels')
            arch['channels'] = arch.pop('dims')
        check_keys('arch', arch, keys, ['mlp_ratio'])
        for key in keys:
            if not isinstance(arch[key], Sequence) or isinstance(arch[key], str) or len(arch[key]) != NUM_STAGES:
                raise ValueError(f'{key} of arch must be a list of {NUM_STAGES}, one per stage, got {arch[key]!r}')
        for key in ('depths', 'channels'):
            arch[key] = int_tuple(f'{key} of arch', arch[key], NUM_STAGES)
        return arch

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``x`` ``(B, in_channels, H, W)``.

        Returns:
            One tensor for each of ``out_indices``: ``(B, C, H / s, W / s)`` at strides s of 4, 8, 16 and 32, or
            ``(B, C)`` if ``gap_before_final_norm``. ``(H + 1) // 4`` rows leave the stem, and each further stage
            halves them, rounding up.
        """
        if min(x.shape[2:]) < self.min_size:
            raise ValueError(
                f'{type(self).__name__} needs inputs of at least {self.min_size} x {self.min_size} pixels, '
                f'got {x.shape[2]} x {x.shape[3]}; pad or resize them'
            )
        outs = []
        x = x.permute(0, 2, 3, 1)  # (B, H, W, in_channels); channels stay last until the output
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))  # (B, H', W', C)
            if i in self.out_indices:
                outs.append(self._output(x, i))
            if i == self.out_indices[-1]:
                break
        return tuple(outs)

    def _output(self, x: Tensor, stage: int) -> Tensor:
        norm = self.get_submodule(f'norm{stage}')
        if self.gap_before_final_norm:
            return normalize(norm, x.mean((1, 2)))  # (B, C)
        return normalize(norm, x).permute(0, 3, 1, 2).contiguous()  # (B, C, H', W')

    def _frozen_modules(self) -> Iterable[nn.Module]:
        if self.frozen_stages >= 0:
            yield self.downsample_layers[0]
        for i in range(NUM_STAGES):
            if i < self.frozen_stages or i > self.out_indices[-1]:
                yield from (self.downsample_layers[i], self.stages[i])
            if i < self.frozen_stages and i in self.out_indices:
                yield self.get_submodule(f'norm{i}')

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the layer that a parameter belongs to, and the number of layers, for layer-wise learning rates.

        Three blocks of the third stage make a layer, every other stage is one, as in ConvNeXt's rule: s18 has
        layers 1 to 6 between the stem (0) and the output norms and heads (7).

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What stands before this backbone's own names, such as ``'backbone.'``.
        """
        last = 3 + -(-self.depths[2] // 3)
        if not param_name.startswith(prefix):
            return last + 1, last + 2
        kind, stage, *rest = param_name[len(prefix) :].split('.')
        if kind == 'downsample_layers':
            layer = layer_of_block(int(stage), None, self.depths)
        elif kind == 'stages':
            layer = layer_of_block(int(stage), int(rest[0]), self.depths)
        else:
            layer = last + 1
        return layer, last + 2

    def get_stage_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the stage that a parameter belongs to, and the number of stages, for stage-wise learning rates.

        Stem and downsampling are 0, the stages of blocks 1 to 4, as in ConvNeXt's rule; output norms and heads are 5.

        Args:
            param_name: As in :meth:`get_layer_depth`.
            prefix: As in :meth:`get_layer_depth`.
        """
        last = len(self.depths) + 1
        if not param_name.startswith(prefix):
            return last, last + 1
        kind, stage, *_ = param_name[len(prefix) :].split('.')
        if kind == 'stages':
            return int(stage) + 1, last + 1
        return 0 if kind == 'downsample_layers' else last, last + 1


def layer_of_block(stage: int, block: int | None, depths: Sequence[int]) -> int:
    """Return the layer of a block in a pyramid of four stages, see :meth:`PyramidBackbone.get_layer_depth`.

    Args:
        stage: Stage, 0 to 3.
        block: Block within the stage, or None for the downsampling before it (the stem before the first).
        depths: Blocks per stage.
    """
    last = 3 + -(-depths[2] // 3)
    if block is None:
        return (0, 2, 3, last)[stage]
    return (1, 2, 3 + block // 3, last)[stage]


def _block_mixers(arch: Mapping[str, Any], filter_resize: FilterResize | None) -> list[dict]:
    """Return the config of every block's mixer, the first block's first."""
    mixers, numbered = [], 0
    for depth, mixer in zip(arch['depths'], arch['token_mixers']):
        if filter_resize is not None and takes(mixer, 'filter_resize'):
            mixer = dict(mixer, filter_resize=filter_resize)
        for _ in range(depth):
            mixers.append(complete(mixer, block_index=numbered))
            numbered += takes(mixer, 'block_index')
    return mixers
