"""HyenaPixel: the 2-D gated long convolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmhyena.layers.gated_mixer import GatedMixer
from mmhyena.layers.long_conv import LongConv
from mmhyena.layers.plain import depthwise
from mmhyena.registry import MODELS

__all__ = ['HyenaPixel']


@MODELS.register_module()
class HyenaPixel(GatedMixer):
    """Gated 2-D long convolution (arXiv 2402.19305, section 3.2).

    ``q, k, v = split(short_conv(in_proj(x)))``; ``y = out_proj(norm(v * long_conv(norm(q * k))))``.
    Any map size works: smaller than the kernel, larger or not square.

    Args:
        channels: Number of channels C.
        kernel_size: Taps of the long convolution on both axes, or on each.
        position_dim: Length of the position code; the filter network is twice as wide.
        norm: Whether both norms are there.
        short_kernel: Taps of the depthwise convolution on both axes, odd.
        filter_resize: Whether the kernel grows with the map, see :class:`LongConv`.
        filter: Config of another filter than HyenaPixel's.
        window: Config of another window than HyenaPixel's.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int | Sequence[int],
        position_dim: int = 32,
        norm: bool = False,
        short_kernel: int = 5,
        filter_resize: bool = False,
        filter: dict | None = None,
        window: dict | None = None,
    ) -> None:
        kernel_size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        if filter is None:
            position = dict(type='SinCosPosition', dim=position_dim)
            filter = dict(type='ImplicitFilter', position=position, width=2 * position_dim, depth=3)
        wide = 3 * channels
        super().__init__(
            channels,
            nn.Conv2d(wide, wide, short_kernel, padding=short_kernel // 2, groups=wide),
            LongConv(channels, kernel_size, filter, window or dict(type='RadialWindow'), filter_resize=filter_resize),
            norm,
        )

    def _flatten(self, x: Tensor) -> Tensor:
        return x

    def _convolve(self, wide: Tensor) -> Tensor:
        return depthwise(self.short_conv, wide.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, H, W, 3C)
