"""HyenaPixel: the 2-D gated long convolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..registry import MODELS
from .long_conv import LongConv
from .plain import dense, depthwise
from .token_mixer import TokenMixer

__all__ = ['HyenaPixel']


@MODELS.register_module()
class HyenaPixel(TokenMixer):
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
        super().__init__()
        kernel_size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        if filter is None:
            position = dict(type='SinCosPosition', dim=position_dim)
            filter = dict(type='ImplicitFilter', position=position, width=2 * position_dim, depth=3)
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.short_conv = nn.Conv2d(
            3 * channels, 3 * channels, short_kernel, padding=short_kernel // 2, groups=3 * channels
        )
        self.long_conv = LongConv(
            channels, kernel_size, filter, window or dict(type='RadialWindow'), filter_resize=filter_resize
        )
        self.gate_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_proj = nn.Linear(channels, channels)

    def prepare(self, spatial: Sequence[int]) -> Tensor:
        """Return the long kernel ``(C, *kernel)`` for maps of size ``spatial``."""
        return self.long_conv.kernel(spatial)

    def forward(self, x: Tensor, prepared: Tensor | None = None) -> Tensor:
        """Mix ``x`` ``(B, H, W, C)``, with the kernel of :meth:`prepare` if it was made before."""
        qkv = dense(self.in_proj, x).permute(0, 3, 1, 2)  # (B, 3C, H, W), channels last in memory
        q, k, v = depthwise(self.short_conv, qkv).permute(0, 2, 3, 1).chunk(3, dim=-1)  # (B, H, W, C)
        gated = self.gate_norm(q * k).permute(0, 3, 1, 2)  # (B, C, H, W)
        mixed = self.long_conv(gated, prepared).permute(0, 2, 3, 1)  # (B, H, W, C), channels first in memory
        return dense(self.out_proj, self.out_norm(v * mixed))
