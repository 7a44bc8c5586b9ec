"""Feature pyramids on the single map of a plain vision transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmhyena.registry import MODELS

__all__ = ['SimpleFeaturePyramid']


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of ``(B, C, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Maps of several strides from the last map of a ViT, without a top-down path (ViTDet, arXiv 2203.16527).

    Each level is scaled by transposed convolutions or max pooling, then projected by a 1 x 1 and a 3 x 3 convolution
    with layer norms.

    Args:
        in_channels: Channels of the ViT's map.
        out_channels: Channels of every level.
        scales: Size of each level in multiples of the input's: 4, 2, 1 or 0.5. A stride of 16 gives 4, 8, 16, 32.
        num_outs: Number of levels; those beyond ``scales`` halve the last one.
        init_cfg: MMEngine's initialization config.

    Raises:
        ValueError: If a scale is not one of the four or ``num_outs`` is less than the number of scales.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: int = 5,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_outs < len(scales):
            raise ValueError(f'num_outs must be at least the number of scales, {len(scales)}, got {num_outs}')
        self.num_outs = num_outs
        self.levels = nn.ModuleList(_level(in_channels, out_channels, scale) for scale in scales)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return ``num_outs`` maps ``(B, out_channels, H * scale, W * scale)`` of the last of ``inputs``."""
        outs = [level(inputs[-1]) for level in self.levels]
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], kernel_size=1, stride=2))
        return tuple(outs)


def _level(channels: int, out_channels: int, scale: float) -> nn.Sequential:
    half, quarter = channels // 2, channels // 4
    if scale == 4:
        resize = [nn.ConvTranspose2d(channels, half, 2, stride=2), ChannelNorm(half), nn.GELU()]
        resize.append(nn.ConvTranspose2d(half, quarter, 2, stride=2))
        channels = quarter
    elif scale == 2:
        resize = [nn.ConvTranspose2d(channels, half, 2, stride=2)]
        channels = half
    elif scale == 1:
        resize = []
    elif scale == 0.5:
        resize = [nn.MaxPool2d(2, ceil_mode=True)]
    else:
        raise ValueError(f'a scale must be 4, 2, 1 or 0.5, got {scale}')
    return nn.Sequential(
        *resize,
        nn.Conv2d(channels, out_channels, 1, bias=False),
        ChannelNorm(out_channels, eps=1e-6),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        ChannelNorm(out_channels, eps=1e-6),
    )
