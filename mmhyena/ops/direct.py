"""The long convolution by its sum, as a depthwise convolution: the fastest on maps of a few pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from .geometry import AxisGeometry

__all__ = ['direct_conv', 'direct_weight']

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def direct_weight(k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Return the weight ``(C, 1, *kernel)`` that ``F.conv`` needs for a kernel ``(C, *kernel)`` cropped to ``axes``."""
    grow = [p for axis in reversed(axes) for p in (_missing(axis.left, axis.right), _missing(axis.right, axis.left))]
    if any(grow):  # F.conv pads both ends alike
        k = F.pad(k, grow)
    return k.flip(tuple(range(1, k.dim())))[:, None]


def direct_conv(u: Tensor, weight: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`direct_weight`."""
    padding = [max(axis.left, axis.right) for axis in axes]
    return _CONVOLUTIONS[len(axes)](u, weight, padding=padding, groups=u.shape[1])


def _missing(here: int, there: int) -> int:
    return max(0, there - here)
