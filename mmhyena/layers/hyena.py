"""HyenaPixel and bidirectional Hyena: gates around a long convolution, over two axes or over the row-major sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmhyena.layers.depthwise import DepthwiseConv1d, DepthwiseConv2d
from mmhyena.layers.fusible import why_not_fusible
from mmhyena.layers.long_conv import FilterResize, LongConv
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.ops import is_compiling
from mmhyena.registry import MODELS

__all__ = ['BidirectionalHyena', 'GatedMixer', 'HyenaPixel']


class GatedMixer(TokenMixer):
    """Base of the mixers ``out_proj(out_norm(gate * long_conv(gate_norm(a * b))))``.

    ``a``, ``b`` and ``gate`` are thirds of ``short_conv(in_proj(x))``. A subclass says which third is the gate and over
    which axes the convolutions run.

    Args:
        channels: Number of channels C.
        short_conv: Depthwise convolution of 3C channels that keeps the size of the feature map.
        long_conv: The long convolution of C channels.
        norm: Whether to use both norms.

    Attributes:
        gate_index: Which third is ``gate``.
    """

    gate_index = 2
    short_conv: DepthwiseConv1d | DepthwiseConv2d

    def __init__(
        self, channels: int, short_conv: DepthwiseConv1d | DepthwiseConv2d, long_conv: LongConv, norm: bool
    ) -> None:
        super().__init__()
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.short_conv = short_conv
        self.long_conv = long_conv
        self.gate_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_proj = nn.Linear(channels, channels)

    def flatten(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(B, *spatial, C)`` as ``(B, *axes, C)`` with the axes that the convolutions run over."""
        return x

    def split(self, wide: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split ``wide`` ``(B, *axes, 3C)`` into ``a``, ``b`` and the gate, each ``(B, *axes, C)``."""
        thirds = list(wide.chunk(3, dim=-1))
        gate = thirds.pop(self.gate_index)
        return thirds[0], thirds[1], gate

    def prepare(self, spatial: Sequence[int]) -> Tensor:
        """Return the long kernel ``(C, *kernel)`` for feature maps of size ``spatial``."""
        return self.long_conv.kernel(self.flatten(torch.empty(1, *spatial, 1, device='meta')).shape[1:-1])

    def forward(self, x: Tensor, prepared: Tensor | None = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``, with the kernel of :meth:`prepare` if it was made before."""
        wide = self.in_proj(self.flatten(x)).movedim(-1, 1)  # (B, 3C, *axes), channels last in memory
        a, b, gate = self.split(self.short_conv(wide).movedim(1, -1))
        gate = gate.movedim(-1, 1)  # (B, C, *axes), as are the arguments of every long convolution
        if not is_compiling() and why_not_fusible(self.gate_norm, nn.Identity) is None:
            mixed = self.long_conv(a.movedim(-1, 1), prepared, pre=b.movedim(-1, 1), post=gate)
        else:  # a norm, or hooks, have to see the product
            mixed = self.long_conv(self.gate_norm(a * b).movedim(-1, 1), prepared, post=gate)
        return self.out_proj(self.out_norm(mixed.movedim(1, -1))).view_as(x)


@MODELS.register_module()
class HyenaPixel(GatedMixer):
    """Gated 2-D long convolution (arXiv 2402.19305, section 3.2).

    ``q, k, v = split(short_conv(in_proj(x)))``; ``y = out_proj(norm(v * long_conv(norm(q * k))))``.
    Feature maps may have any size: smaller or larger than the kernel, square or not.

    Args:
        channels: Number of channels C.
        kernel_size: Taps of the long convolution, one integer for both axes or one for each.
        position_dim: Length of the positional encoding; the filter network is twice as wide.
        norm: Whether to use both norms.
        short_kernel: Taps of the depthwise convolution on both axes, odd.
        filter_resize: Whether and how the kernel grows with the feature map, see :class:`LongConv`.
        filter: Config of a filter other than HyenaPixel's.
        window: Config of a window other than HyenaPixel's.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int | Sequence[int],
        position_dim: int = 32,
        norm: bool = False,
        short_kernel: int = 5,
        filter_resize: FilterResize = False,
        filter: dict | None = None,
        window: dict | None = None,
    ) -> None:
        kernel_size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        if filter is None:
            position = dict(type='SinCosPosition', dim=position_dim)
            filter = dict(type='ImplicitFilter', position=position, width=2 * position_dim, depth=3)
        super().__init__(
            channels,
            DepthwiseConv2d(3 * channels, short_kernel),
            LongConv(channels, kernel_size, filter, window or dict(type='RadialWindow'), filter_resize=filter_resize),
            norm,
        )


@MODELS.register_module()
class BidirectionalHyena(GatedMixer):
    """Gated 1-D long convolution that sees both directions (arXiv 2402.19305, section 3.1).

    ``x0, x1, v = split(short_conv(in_proj(x)))``; ``y = out_proj(norm(x0 * long_conv(norm(v * x1))))`` over the pixels
    in row-major order. Any number of pixels works; displacements beyond ``l_max - 1`` have no tap unless the filter is
    resized. A displacement in the sequence is another displacement in the image as soon as the width changes.

    Args:
        channels: Number of channels C.
        l_max: Number of pixels that the filter is made for: it has ``2 * l_max - 1`` taps.
        position_dim: Length of the positional encoding, odd.
        width: Width of the filter network.
        norm: Whether to use both norms.
        filter_resize: Whether and how the kernel grows with the sequence, see :class:`LongConv`.
        filter: Config of a filter other than bidirectional Hyena's.
        window: Config of a window other than bidirectional Hyena's.
    """

    gate_index = 0

    def __init__(
        self,
        channels: int,
        l_max: int,
        position_dim: int = 33,
        width: int = 64,
        norm: bool = False,
        filter_resize: FilterResize = False,
        filter: dict | None = None,
        window: dict | None = None,
    ) -> None:
        if filter is None:
            position = dict(type='ComplexExponentialPosition', dim=position_dim)
            filter = dict(type='ImplicitFilter', position=position, width=width, depth=4)
        taps = (2 * l_max - 1,)
        super().__init__(
            channels,
            DepthwiseConv1d(3 * channels, 3),
            LongConv(channels, taps, filter, window or dict(type='BidirectionalWindow'), filter_resize=filter_resize),
            norm,
        )

    def flatten(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(B, *spatial, C)`` as ``(B, L, C)``, pixels in row-major order."""
        return x.flatten(1, -2)
