"""The direct convolution: a depthwise convolution with all taps, the fastest on small feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhyena.ops.geometry import AxisGeometry, ConvCase

__all__ = ['cost', 'direct_conv', 'direct_conv_prepared', 'direct_kernel', 'reason']

# Widest kernel for which oneDNN is fast with channels first; wider ones need channels last.
CHANNELS_FIRST_TAPS = 13

# Nanoseconds per multiply-add, of narrow and wide kernels, and per call on one core of a CPU (benchmarks/backends.py).
# The kernel's gradient is slower by the factor SLOW, and so are one and three axes, which oneDNN does not optimize.
PREPARED_NS = 0.026, 0.0135, 250.0
SLOW = 40.0

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def reason(case: ConvCase) -> str | None:
    """Return None, since this backend serves every case."""
    return None


def cost(case: ConvCase) -> float:
    """Return the estimated nanoseconds per image and channel, of forward and backward if the kernel is no constant."""
    taps = [2 * max(axis.left, axis.right) + 1 for axis in case.axes]
    products = prod(case.spatial) * prod(taps)
    if case.device.type != 'cpu':
        return products / 1e3  # depthwise convolutions with large kernels are slow
    narrow, wide, per_call = PREPARED_NS
    is_slow = not case.is_constant or len(taps) != 2
    return (wide if max(taps) > CHANNELS_FIRST_TAPS else narrow) * products * (SLOW if is_slow else 1.0) + per_call


def direct_kernel(k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Return the weight ``(C, 1, *kernel)`` for torch's convolutions of ``k`` ``(C, *kernel)`` cropped to ``axes``."""
    grow = [p for axis in reversed(axes) for p in (_missing(axis.left, axis.right), _missing(axis.right, axis.left))]
    if any(grow):  # they pad both ends of the feature map equally
        k = F.pad(k, grow)
    return k.flip(tuple(range(1, k.dim())))[:, None]


def direct_conv_prepared(u: Tensor, weight: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`direct_kernel`."""
    if len(axes) == 2 and u.device.type == 'cpu':
        is_wide = max(weight.shape[2:]) > CHANNELS_FIRST_TAPS
        u = u.contiguous(memory_format=torch.channels_last if is_wide else torch.contiguous_format)
    padding = [max(axis.left, axis.right) for axis in axes]
    return _CONVOLUTIONS[len(axes)](u, weight, padding=padding, groups=u.shape[1])


def direct_conv(u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)`` cropped to ``axes``."""
    return direct_conv_prepared(u, direct_kernel(k, axes), axes)


def _missing(here: int, there: int) -> int:
    return max(0, there - here)
