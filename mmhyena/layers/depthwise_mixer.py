"""A depthwise convolution as token mixer: the spatial part of a ConvNeXt block."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.registry import MODELS

__all__ = ['DepthwiseMixer']


@MODELS.register_module()
class DepthwiseMixer(TokenMixer):
    """Mix by one depthwise convolution, without gates or projections (ConvNeXt, arXiv 2201.03545, section 2.6).

    Args:
        channels: Number of channels C.
        kernel_size: Taps on both axes, odd.

    Raises:
        ValueError: If ``kernel_size`` is even.
    """

    def __init__(self, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}')
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        """Mix ``x`` ``(B, H, W, C)``."""
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
