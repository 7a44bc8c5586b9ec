"""The long convolution by its sum, as a depthwise convolution: the fastest on maps of a few pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import AxisGeometry

__all__ = ['direct_conv', 'direct_weight']

# Widest kernel that oneDNN convolves fast with channels first; beyond it only its form with channels last is fast.
CHANNELS_FIRST_TAPS = 13

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
    if len(axes) == 2 and u.device.type == 'cpu':
        wide = max(weight.shape[2:]) > CHANNELS_FIRST_TAPS
        u = u.contiguous(memory_format=torch.channels_last if wide else torch.contiguous_format)
    return _CONVOLUTIONS[len(axes)](u, weight, padding=padding, groups=u.shape[1])


def _missing(here: int, there: int) -> int:
    return max(0, there - here)
