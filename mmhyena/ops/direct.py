"""The long convolution by its sum, as a depthwise convolution: the fastest on maps of a few pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from .geometry import AxisGeometry

__all__ = ['direct_conv']

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def direct_conv(u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)`` cropped to ``axes``."""
    padding = [max(axis.left, axis.right) for axis in axes]
    grow = [p for axis in reversed(axes) for p in (_missing(axis.left, axis.right), _missing(axis.right, axis.left))]
    if any(grow):  # F.conv pads both ends alike
        k = F.pad(k, grow)
    flipped = k.flip(tuple(range(1, k.dim())))[:, None]  # (C, 1, *kernel)
    return _CONVOLUTIONS[len(axes)](u, flipped, padding=padding, groups=u.shape[1])


def _missing(here: int, there: int) -> int:
    return max(0, there - here)
