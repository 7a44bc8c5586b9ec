"""Reference implementations: slow, straight from the definitions, and without code shared with the fast ones."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['naive_depthwise_conv', 'naive_long_conv', 'naive_star_relu_mlp']


def naive_long_conv(u: Tensor, k: Tensor, skip: Tensor | None = None, *, causal: bool = False) -> Tensor:
    """Convolve ``u`` with ``k`` tap by tap.

    On every axis ``y[n] = sum_j k[j] * u[n + c - j]``, plus ``skip * u``, with ``u`` zero-padded and the center
    ``c = K // 2``, or ``c = 0`` if causal.

    Args:
        u: Feature map ``(B, C, *spatial)`` with one to three spatial axes.
        k: Kernel ``(C, *kernel)``, any number of taps on each axis.
        skip: Weight of the input itself, ``(C,)``, or None.
        causal: Whether an output sees only the inputs at or before it on every axis.

    Returns:
        Feature map of the shape and dtype of ``u``.
    """
    spatial, kernel = u.shape[2:], k.shape[1:]
    everything = slice(None), slice(None)  # of batch and channels
    y = u.new_zeros(u.shape)
    for taps in itertools.product(*(range(size) for size in kernel)):
        shifts = [tap - (0 if causal else size // 2) for tap, size in zip(taps, kernel)]
        if any(abs(shift) >= size for shift, size in zip(shifts, spatial)):
            continue  # this tap never meets the map
        target = [slice(max(s, 0), n + min(s, 0)) for s, n in zip(shifts, spatial)]
        source = [slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(shifts, spatial)]
        weight = k.movedim(0, -1)[taps].view(1, -1, *(1,) * len(spatial))
        shifted = u.new_zeros(u.shape)
        shifted[(*everything, *target)] = u[(*everything, *source)]
        y = y + weight * shifted
    if skip is not None:
        y = y + skip.view(1, -1, *(1,) * len(spatial)) * u
    return y


def naive_depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve each channel with its own kernel as a sum over shifted inputs, zero-padded to keep the size.

    Args:
        x: ``(B, C, H, W)``.
        weight: ``(C, 1, kh, kw)``, odd.
        bias: ``(C,)``.

    Returns:
        ``(B, C, H, W)``.
    """
    height, width = x.shape[2:]
    kh, kw = weight.shape[2:]
    padded = F.pad(x, (kw // 2, kw // 2, kh // 2, kh // 2))
    y = x.new_zeros(x.shape) if bias is None else bias.view(-1, 1, 1).expand_as(x)
    for i in range(kh):
        for j in range(kw):
            y = y + weight[:, :, i, j, None] * padded[:, :, i : i + height, j : j + width]
    return y


def naive_star_relu_mlp(x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return ``(scale * relu(x @ fc1.T) ** 2 + bias) @ fc2.T`` (arXiv 2210.13452, section 2.3).

    Args:
        x: ``(..., C)``.
        fc1: ``(hidden, C)``.
        fc2: ``(C_out, hidden)``.
        scale: ``(1,)``.
        bias: ``(1,)``.

    Returns:
        ``(..., C_out)``.
    """
    hidden = torch.clamp(x @ fc1.T, min=0)
    return (scale * hidden * hidden + bias) @ fc2.T
