"""Where a kernel's taps meet a map: the integer arithmetic shared by every backend of the long convolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

__all__ = ['AxisGeometry', 'axis_geometry', 'fast_fft_length', 'geometry']


class AxisGeometry(NamedTuple):
    """How the kernel lies on one axis.

    Attributes:
        start: First tap that can touch the map.
        stop: One past the last such tap.
        left: Taps kept before the centre, so tap ``start + left`` is the one of displacement 0.
        right: Taps kept after the centre.
        fft_length: Length at which the circular convolution equals the linear one on the map.
    """

    start: int
    stop: int
    left: int
    right: int
    fft_length: int


@cache
def fast_fft_length(minimum: int) -> int:
    """Return the length of at least ``minimum`` whose transform is the fastest.

    Candidates have the prime factors 2, 3, 5 and 7. Measured with MKL (docs/performance.md), time per element is
    about the same at all multiples of 4, 0.85 of that at powers of 2 (element-wise work included), 1.2 at other even
    and 1.5 at odd lengths.
    """
    minimum = max(2, minimum)
    candidates = [n for n in range(minimum, 2 * minimum + 1) if _is_smooth(n)]
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


@lru_cache(maxsize=4096)
def axis_geometry(size: int, kernel: int, causal: bool) -> AxisGeometry:
    """Return the geometry of a kernel of ``kernel`` taps on an axis of ``size`` pixels.

    A tap of displacement ``d`` reads pixel ``n - d``, so only ``|d| < size`` matters. A circular convolution of length
    ``N`` reads pixel ``n - d + N`` as well, which must lie outside the map for every kept tap: ``N >= size + left``
    and ``N >= size + right``.
    """
    centre = 0 if causal else kernel // 2
    left = min(centre, size - 1)
    right = min(kernel - 1 - centre, size - 1)
    start = centre - left
    return AxisGeometry(start, start + left + right + 1, left, right, fast_fft_length(size + max(left, right)))


def geometry(spatial: Sequence[int], kernel: Sequence[int], causal: bool = False) -> tuple[AxisGeometry, ...]:
    """Return the geometry of every axis, see :func:`axis_geometry`."""
    return tuple(axis_geometry(int(size), int(taps), causal) for size, taps in zip(spatial, kernel))
