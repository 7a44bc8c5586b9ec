"""Resampling of tables that are functions of the displacement from a kernel's centre."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ['resample']


def resample(table: Tensor, size: Sequence[int]) -> Tensor:
    """Resample ``table`` ``(C, *old)`` to ``(C, *size)`` linearly, keeping both ends of each axis in place.

    Ends stay ends and an odd axis keeps its centre, so a kernel table keeps its displacement 0. The table itself is
    returned when the size is its own. Axes are taken one after another, so any number of them works.
    """
    for axis, new in enumerate(size, start=1):
        old = table.shape[axis]
        if new == old:
            continue
        position = torch.linspace(0, old - 1, new, device=table.device, dtype=torch.float64)
        if new == 1:
            position += (old - 1) / 2
        lower = position.floor().clamp_(max=max(old - 2, 0)).long()
        upper = (lower + 1).clamp_(max=old - 1)
        weight = (position - lower).to(table.dtype).view(-1, *(1,) * (table.dim() - axis - 1))
        table = table.index_select(axis, lower) * (1 - weight) + table.index_select(axis, upper) * weight
    return table
