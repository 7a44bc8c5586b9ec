"""The long convolution by its sum, as a depthwise convolution: the fastest on maps of a few pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhyena.ops.geometry import AxisGeometry
from mmhyena.ops.mode import has_onednn

__all__ = ['direct_conv', 'direct_weight', 'pack_direct_weight']

# Widest kernel that oneDNN convolves fast with channels first; beyond it only its form with channels last is fast.
CHANNELS_FIRST_TAPS = 13

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def direct_weight(k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Return the weight ``(C, 1, *kernel)`` that ``F.conv`` needs for a kernel ``(C, *kernel)`` cropped to ``axes``."""
    grow = [p for axis in reversed(axes) for p in (_missing(axis.left, axis.right), _missing(axis.right, axis.left))]
    if any(grow):  # F.conv pads both ends alike
        k = F.pad(k, grow)
    return k.flip(tuple(range(1, k.dim())))[:, None]


def pack_direct_weight(weight: Tensor, axes: Sequence[AxisGeometry], spatial: Sequence[int]) -> Tensor:
    """Return ``weight`` in the layout that oneDNN convolves with, where that spares a move in every call.

    It is made for maps ``(1, C, *spatial)`` and serves every batch; others have it moved again.
    """
    is_served = weight.device.type == 'cpu' and weight.dtype == torch.float32 and has_onednn()
    if not (is_served and len(axes) == 2 and _is_wide(weight)):
        return weight
    channels = weight.shape[0]
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight, _padding(axes), [1, 1], [1, 1], channels, [1, channels, *spatial]
    )


def direct_conv(u: Tensor, weight: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`direct_weight`, packed or not."""
    padding, channels = _padding(axes), u.shape[1]
    if len(axes) == 2 and u.device.type == 'cpu':
        u = u.contiguous(memory_format=torch.channels_last if _is_wide(weight) else torch.contiguous_format)
    if weight.is_mkldnn:
        return torch.ops.mkldnn._convolution_pointwise(
            u, weight, None, padding, [1, 1], [1, 1], channels, 'none', [], ''
        )
    return _CONVOLUTIONS[len(axes)](u, weight, padding=padding, groups=channels)


def _padding(axes: Sequence[AxisGeometry]) -> list[int]:
    return [max(axis.left, axis.right) for axis in axes]


def _is_wide(weight: Tensor) -> bool:
    return max(weight.shape[2:]) > CHANNELS_FIRST_TAPS


def _missing(here: int, there: int) -> int:
    return max(0, there - here)
