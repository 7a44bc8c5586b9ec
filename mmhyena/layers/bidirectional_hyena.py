"""Bidirectional Hyena: the gated long convolution over the pixels in row-major order."""

from __future__ import annotations

from torch import Tensor, nn

from mmhyena.layers.gated_mixer import GatedMixer
from mmhyena.layers.long_conv import LongConv
from mmhyena.layers.plain import sequence_conv
from mmhyena.registry import MODELS

__all__ = ['BidirectionalHyena']


@MODELS.register_module()
class BidirectionalHyena(GatedMixer):
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

    last_gate = 0

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
        if filter is None:
            position = dict(type='ComplexExponentialPosition', dim=position_dim)
            filter = dict(type='ImplicitFilter', position=position, width=width, depth=4)
        wide, taps = 3 * channels, (2 * l_max - 1,)
        super().__init__(
            channels,
            nn.Conv1d(wide, wide, 3, padding=1, groups=wide),
            LongConv(channels, taps, filter, window or dict(type='BidirectionalWindow'), filter_resize=filter_resize),
            norm,
        )

    def _flatten(self, x: Tensor) -> Tensor:
        return x.flatten(1, -2)  # (B, L, C)

    def _convolve(self, wide: Tensor) -> Tensor:
        return sequence_conv(self.short_conv, wide)
