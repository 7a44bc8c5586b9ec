"""Resampling of tables that are functions of the displacement from a kernel's center."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

__all__ = ['axis_spacings', 'extend_distance', 'resample', 'resample_distance', 'tap_spacing']


# Entries of the largest matrix that resamples an axis. Beyond, as on a long sequence, neighbors are gathered.
MATRIX = 2**20


def resample(table: Tensor, size: Sequence[int], first: int = 1) -> Tensor:
    """Resample ``table`` ``(C, *old)`` to ``(C, *size)`` by cubic convolution, with both ends of each axis aligned.

    An axis of odd length keeps its center, so a kernel keeps its displacement 0. The result is exact for polynomials of
    degree two (Keys, Cubic convolution interpolation, 1981). Axes are resampled one after another, so there may be any
    number of them. ``table`` itself is returned if it has the size already.

    Args:
        table: ``(C, *old)``, or ``(*old, C)`` with ``first=0``.
        size: New length of each axis.
        first: The first axis that is resampled.
    """
    for axis, new in enumerate(size, start=first):
        if new != table.shape[axis]:
            table = _resample_axis(table, axis, new)
    return table


def resample_distance(distance: Tensor, size: Sequence[int]) -> Tensor:
    """Resample distances from the center ``(*old)`` to ``size``; the corners keep their distance.

    The square of a Euclidean distance is a polynomial of degree two and hence resampled exactly. The distance itself is
    not smooth at the center and would not be.
    """
    if tuple(size) == tuple(distance.shape):
        return distance
    squares = resample(distance.double().square()[None], size)[0]
    return squares.clamp_(min=0).sqrt_().to(distance.dtype)


def extend_distance(distance: Tensor, size: Sequence[int]) -> Tensor:
    """Continue Euclidean distances from the center ``(*old)`` to ``size`` taps of the same spacing."""
    if tuple(size) == tuple(distance.shape):
        return distance
    unit = distance.max() / _euclidean(distance.shape, distance).max().clamp_min(1)  # of official checkpoints not 1
    return _euclidean(size, distance) * unit


def _euclidean(size: Sequence[int], like: Tensor) -> Tensor:
    """Return the distance of every tap from the center in taps, ``(*size)``."""
    offsets = [torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2 for n in size]
    return torch.stack(torch.meshgrid(*offsets, indexing='ij')).square().sum(0).sqrt()


def axis_spacings(old: Sequence[int], new: Sequence[int]) -> list[float]:
    """Return the distance of neighboring taps after resampling ``old`` to ``new`` taps, in old distances, per axis.

    The ends of an axis stay in place, so n taps have n - 1 distances; a single tap counts as one.
    """
    return [max(o - 1, 1) / max(n - 1, 1) for o, n in zip(old, new)]


def tap_spacing(old: Sequence[int], new: Sequence[int]) -> float:
    """Return the factor of a resampled kernel's values that keeps the sum over its taps: the area of a new tap."""
    return prod(axis_spacings(old, new))


def _resample_axis(table: Tensor, axis: int, new: int) -> Tensor:
    old = table.shape[axis]
    if old * new > MATRIX:
        return _gather(table, axis, new)
    unit = torch.eye(old, device=table.device, dtype=torch.float64)
    matrix = _gather(unit, 0, new).to(table.dtype)  # (new, old); one product passes over the table once
    if axis == table.dim() - 1:
        return table @ matrix.T
    lead, trail = table.shape[:axis], table.shape[axis + 1 :]
    return (matrix @ table.reshape(*lead, old, prod(trail))).view(*lead, new, *trail)


def _gather(table: Tensor, axis: int, new: int) -> Tensor:
    """Return weighted sums of the four nearest entries along an axis."""
    old = table.shape[axis]
    position = torch.linspace(0, old - 1, new, device=table.device, dtype=torch.float64)
    if new == 1:
        position += (old - 1) / 2
    lower = position.floor().clamp_(max=max(old - 2, 0)).long()
    shift = (position - lower).view(-1, *(1,) * (table.dim() - axis - 1))
    padded = _extend(table, axis)
    terms = [
        padded.index_select(axis, lower + tap) * weight.to(table.dtype)
        for tap, weight in enumerate(_keys_weights(shift))
    ]
    return sum(terms[1:], terms[0])


def _extend(table: Tensor, axis: int) -> Tensor:
    """Extrapolate by one entry before the first and two after the last, on the parabola through the nearest three."""
    old = table.shape[axis]
    entries = [table.narrow(axis, min(i, old - 1), 1) for i in range(3)]
    last = [table.narrow(axis, max(old - 1 - i, 0), 1) for i in range(3)]
    if old < 3:  # a straight line, or a constant
        before, after = 2 * entries[0] - entries[1], 2 * last[0] - last[1]
    else:
        before = 3 * (entries[0] - entries[1]) + entries[2]
        after = 3 * (last[0] - last[1]) + last[2]
    return torch.cat([before, table, after, after], axis)


def _keys_weights(shift: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights of the entries at -1, 0, 1 and 2 for positions ``shift`` in 0 to 1."""
    square, cube = shift**2, shift**3
    return (
        -0.5 * shift + square - 0.5 * cube,
        1 - 2.5 * square + 1.5 * cube,
        0.5 * shift + 2 * square - 1.5 * cube,
        -0.5 * square + 0.5 * cube,
    )
