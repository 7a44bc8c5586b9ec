"""Bidirectional Hyena: the gated long convolution over the pixels in row-major order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from ..registry import MODELS
from .long_conv import LongConv
from .plain import dense, sequence_conv
from .token_mixer import TokenMixer

__all__ = ['BidirectionalHyena']


@MODELS.register_module()
class BidirectionalHyena(TokenMixer):
    """Gated 1-D long convolution that sees both directions (arXiv 2402.19305, section 3.1).

    ``x0, x1, v = split(short_conv(in_proj(x)))``; ``y = out_proj(norm(x0 * long_conv(norm(v * x1))))`` over the pixels
    row by row. Any number of pixels works; displacements beyond ``l_max - 1`` have no tap unless the filter is
    resized. One displacement means another step in the image as soon as the width changes.

    Args:
        channels: Number of channels C.
        l_max: Number of pixels that the filter is made for: it has ``2 * l_max - 1`` taps.
        position_dim: Length of the position code, odd.
        width: Width of the filter network.
        norm: Whether both norms are there.
        filter_resize: Whether the filter is resampled to the sequence at hand, see :class:`LongConv`.
        filter: Config of another filter than bidirectional Hyena's.
        window: Config of another window than bidirectional Hyena's.
    """

    def __init__(
        self,
        channels: int,
        l_max: int,
        position_dim: int = 33,
        width: int = 64,
        norm: bool = False,
        filter_resize: bool = False,
        filter: dict | None = None,
        window: dict | None = None,
    ) -> None:
        super().__init__()
        if filter is None:
            position = dict(type='ComplexExponentialPosition', dim=position_dim)
            filter = dict(type='ImplicitFilter', position=position, width=width, depth=4)
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.short_conv = nn.Conv1d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels)
        self.long_conv = LongConv(
            channels, (2 * l_max - 1,), filter, window or dict(type='BidirectionalWindow'), filter_resize=filter_resize
        )
        self.gate_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_proj = nn.Linear(channels, channels)

    def prepare(self, spatial: Sequence[int]) -> Tensor:
        """Return the long kernel ``(C, taps)`` for maps of size ``spatial``."""
        return self.long_conv.kernel((prod(spatial),))

    def forward(self, x: Tensor, prepared: Tensor | None = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``, with the kernel of :meth:`prepare` if it was made before."""
        qkv = sequence_conv(self.short_conv, dense(self.in_proj, x.flatten(1, -2)))  # (B, L, 3C)
        x0, x1, v = qkv.chunk(3, dim=-1)  # (B, L, C)
        gated = self.gate_norm(v * x1).transpose(1, 2)  # (B, C, L)
        mixed = self.long_conv(gated, prepared).transpose(1, 2)  # (B, L, C), channels first in memory
        return dense(self.out_proj, self.out_norm(x0 * mixed)).view_as(x)
