"""HyenaFormer: the MetaFormer pyramid with a token mixer of choice in each stage."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mmhyena.backbones.pyramid import PyramidBackbone
from mmhyena.layers import Downsample, MetaFormerBlock
from mmhyena.registry import MODELS

__all__ = ['HyenaFormer']

_S18 = dict(depths=(3, 3, 9, 3), channels=(64, 128, 320, 512))
_B36 = dict(depths=(3, 12, 18, 3), channels=(128, 256, 512, 768))
_TINY = dict(depths=(2, 2, 4, 2), channels=(32, 64, 128, 192))


def _hpx(kernels: Sequence[int], position_dims: Sequence[int] = (32, 32, 48, 64), norm: bool = False) -> list[dict]:
    return [
        dict(type='HyenaPixel', kernel_size=kernel, position_dim=dim, norm=norm)
        for kernel, dim in zip(kernels, position_dims)
    ]


def _hb(l_max: Sequence[int] = (3136, 784, 196, 49), norm: bool = False) -> list[dict]:
    shapes = zip(l_max, (33, 33, 49, 65), (64, 64, 96, 128))
    return [
        dict(type='BidirectionalHyena', l_max=length, position_dim=dim, width=width, norm=norm)
        for length, dim, width in shapes
    ]


def _nd(map_sizes: Sequence[int] = (56, 28, 14, 7)) -> list[dict]:
    return [dict(type='HyenaND', map_size=size, direction='alternating') for size in map_sizes]


_HPX_224, _HPX_384 = (111, 55, 27, 13), (191, 95, 47, 23)
_SEP_CONV = dict(type='SepConv')
_ATTENTION = dict(type='Attention')


@MODELS.register_module()
class HyenaFormer(PyramidBackbone):
    """HyenaPixel, bidirectional Hyena and Hyena N-D backbones with features at strides 4, 8, 16 and 32.

    The official architectures of arXiv 2402.19305 (table 2) in the MetaFormer shell (arXiv 2210.13452). The
    ``hyena_nd_former`` ones are ours: Hyena N-D (arXiv 2309.13600) with the joint filter in every stage, whose
    blocks alternate between up and left, and down and right. Inputs may have any size from 32 x 32 up, square or not.

    Arguments are those of :class:`~mmhyena.backbones.pyramid.PyramidBackbone`; ``arch`` is ``'hpx_former_s18'`` by
    default.
    """

    default_arch = 'hpx_former_s18'
    default_init_cfg = (dict(type='TruncNormal', layer=['Linear', 'Conv2d'], std=0.02, bias=0.0),)
    arch_settings = {
        'hpx_former_tiny': dict(_TINY, token_mixers=_hpx((63, 31, 15, 7), (16, 16, 24, 32), norm=True)),
        'hb_former_tiny': dict(_TINY, token_mixers=_hb((1024, 256, 64, 16), norm=True)),
        'hyena_nd_former_tiny': dict(_TINY, token_mixers=_nd((16, 8, 4, 2))),
        'hpx_former_s18': dict(_S18, token_mixers=_hpx(_HPX_224, norm=True)),
        'hpx_former_s18_k191': dict(_S18, token_mixers=_hpx(_HPX_384, norm=True)),
        'hpx_former_b36': dict(_B36, token_mixers=_hpx(_HPX_224, norm=True)),
        'hb_former_s18': dict(_S18, token_mixers=_hb()),
        'hb_former_b36': dict(_B36, token_mixers=_hb(norm=True)),
        'c_hpx_former_s18': dict(_S18, token_mixers=[_SEP_CONV] * 2 + _hpx(_HPX_224)[2:]),
        'hpx_a_former_s18': dict(_S18, token_mixers=_hpx(_HPX_224)[:2] + [_ATTENTION] * 2),
        'hb_a_former_s18': dict(_S18, token_mixers=_hb()[:2] + [_ATTENTION] * 2),
        'hyena_nd_former_s18': dict(_S18, token_mixers=_nd()),
        'hyena_nd_former_b36': dict(_B36, token_mixers=_nd()),
    }

    def _make_downsample(self, stage: int, in_channels: int, out_channels: int) -> nn.Module:
        kernel_size, stride, padding = (7, 4, 2) if stage == 0 else (3, 2, 1)
        return Downsample(in_channels, out_channels, kernel_size, stride, padding, norm_first=stage > 0)

    def _make_block(self, stage: int, token_mixer: dict, drop_path_rate: float, with_cp: bool) -> nn.Module:
        return MetaFormerBlock(self.embed_dims[stage], token_mixer, drop_path_rate, stage >= 2, with_cp, self.mlp_ratio)
