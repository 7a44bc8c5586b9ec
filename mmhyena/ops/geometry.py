"""The position of a kernel on a feature map: integer arithmetic shared by all backends of the long convolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import torch

__all__ = ['AxisGeometry', 'ConvCase', 'axis_geometry', 'dft_length', 'fast_fft_length', 'geometry']


class AxisGeometry(NamedTuple):
    """Position of the kernel on one axis.

    Attributes:
        start: First tap that can touch the feature map.
        stop: One past the last such tap.
        left: Taps kept before the center, so tap ``start + left`` is the one of displacement 0.
        right: Taps kept after the center.
    """

    start: int
    stop: int
    left: int
    right: int


class ConvCase(NamedTuple):
    """Description of a long convolution, from which backends tell whether they can serve it and at what cost.

    Attributes:
        batch: Number of images B.
        channels: Number of channels C.
        spatial: Size of the feature map.
        axes: Position of the kernel on each axis.
        dtype: Type of the feature map.
        device: Device of the feature map.
        is_constant: Whether the kernel was transformed beforehand and needs no gradient.
    """

    batch: int
    channels: int
    spatial: tuple[int, ...]
    axes: tuple[AxisGeometry, ...]
    dtype: torch.dtype
    device: torch.device
    is_constant: bool


@cache
def fast_fft_length(minimum: int, device_type: str = 'cpu') -> int:
    """Return the length of at least ``minimum`` with the fastest transform.

    Candidates have the prime factors 2, 3, 5 and 7, for which MKL and cuFFT have kernels. On a CPU the relative time
    per element, elementwise work included, is taken as 1 at multiples of 4, 0.85 at powers of 2, 1.2 at other even and
    1.5 at odd lengths (measured with MKL, docs/performance.md). Other devices take the smallest even candidate.
    """
    minimum = max(2, minimum)
    candidates = [n for n in range(minimum, 2 * minimum + 1) if _is_smooth(n)]
    if device_type != 'cpu':
        return min(n for n in candidates if n % 2 == 0)
    return min(candidates, key=lambda n: (n * _time_per_element(n), n))


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


def _time_per_element(n: int) -> float:
    if n & (n - 1) == 0:
        return 0.85
    return 1.0 if n % 4 == 0 else 1.2 if n % 2 == 0 else 1.5


def dft_length(axis: AxisGeometry, size: int) -> int:
    """Return the smallest length at which the circular convolution equals the linear one on the feature map."""
    return size + max(axis.left, axis.right)


@lru_cache(maxsize=4096)
def axis_geometry(size: int, kernel: int, causal: bool) -> AxisGeometry:
    """Return the geometry of a kernel of ``kernel`` taps on an axis of ``size`` pixels.

    A tap of displacement ``d`` reads pixel ``n - d``, so only taps with ``|d| < size`` matter. A circular convolution
    of length ``N`` also reads pixel ``n - d + N``, which must be outside the feature map for every kept tap:
    ``N >= size + left`` and ``N >= size + right`` (:func:`dft_length`).
    """
    center = 0 if causal else kernel // 2
    left = min(center, size - 1)
    right = min(kernel - 1 - center, size - 1)
    start = center - left
    return AxisGeometry(start, start + left + right + 1, left, right)


def geometry(spatial: Sequence[int], kernel: Sequence[int], causal: bool = False) -> tuple[AxisGeometry, ...]:
    """Return the geometry of every axis, see :func:`axis_geometry`."""
    return tuple(axis_geometry(int(size), int(taps), causal) for size, taps in zip(spatial, kernel))
