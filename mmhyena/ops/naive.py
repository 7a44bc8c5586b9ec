"""The long convolution by its definition: slow, and free of any transform, so that it can judge the fast ones."""

from __future__ import annotations

import itertools

from torch import Tensor

__all__ = ['naive_long_conv']


def naive_long_conv(u: Tensor, k: Tensor, skip: Tensor | None = None, *, causal: bool = False) -> Tensor:
    """Convolve ``u`` with ``k`` tap by tap.

    On every axis ``y[n] = sum_j k[j] * u[n + c - j]`` with ``u`` zero outside the map and the centre ``c = K // 2``
    (``c = 0`` if causal), plus ``skip * u``.

    Args:
        u: Map of shape ``(B, C, *spatial)`` with one to three spatial axes.
        k: Kernel of shape ``(C, *kernel)``, any size on each axis.
        skip: Weight of the input itself, shape ``(C,)``.
        causal: Whether an output sees only the inputs at or before it on every axis.

    Returns:
        Map of the shape and dtype of ``u``.
    """
    spatial, kernel = u.shape[2:], k.shape[1:]
    y = u.new_zeros(u.shape)
    for taps in itertools.product(*(range(size) for size in kernel)):
        shifts = [tap - (0 if causal else size // 2) for tap, size in zip(taps, kernel)]
        if any(abs(shift) >= size for shift, size in zip(shifts, spatial)):
            continue  # this tap never meets the map
        target = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shifts, spatial))
        source = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(shifts, spatial))
        weight = k[(slice(None), *taps)].view(1, -1, *(1,) * len(spatial))
        shifted = u.new_zeros(u.shape)
        shifted[(..., *target)] = u[(..., *source)]
        y = y + weight * shifted
    if skip is not None:
        y = y + skip.view(1, -1, *(1,) * len(spatial)) * u
    return y
