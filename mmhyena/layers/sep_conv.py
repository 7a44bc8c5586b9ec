"""The separable convolution of ConvFormer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmhyena.layers.depthwise import DepthwiseConv2d
from mmhyena.layers.metaformer import StarReLU
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.registry import MODELS

__all__ = ['SepConv']


@MODELS.register_module()
class SepConv(TokenMixer):
    """Inverted separable convolution (MetaFormer baselines, arXiv 2210.13452; MobileNetV2's block without norms).

    Args:
        channels: Number of channels C.
        expansion: Channels of the depthwise convolution, in multiples of C.
        kernel_size: Taps of the depthwise convolution on both axes, odd.
    """

    def __init__(self, channels: int, expansion: int = 2, kernel_size: int = 7) -> None:
        super().__init__()
        hidden = expansion * channels
        self.in_proj = nn.Linear(channels, hidden, bias=False)
        self.act = StarReLU()
        self.conv = DepthwiseConv2d(hidden, kernel_size, bias=False)
        self.out_proj = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        """Mix ``x`` ``(B, H, W, C)``."""
        hidden = self.act(self.in_proj(x)).permute(0, 3, 1, 2)  # (B, 2C, H, W), channels last in memory
        return self.out_proj(self.conv(hidden).permute(0, 2, 3, 1))  # (B, H, W, C)
