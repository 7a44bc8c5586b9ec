"""Decay windows, which modulate a kernel by the displacement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmhyena.layers.filters.resample import extend_distance, resample_distance
from mmhyena.ops import is_inference, is_ordinary
from mmhyena.registry import MODELS

__all__ = ['BidirectionalWindow', 'ExponentialWindow', 'RadialWindow', 'SymmetricWindow', 'decay_rates']


def decay_rates(channels: int, fast: float = 0.3, slow: float = 1.5, target: float = 0.01) -> Tensor:
    """Return decay rates ``(channels,)``: ``exp(-rate * t)`` is ``target`` at ``t`` from ``slow`` down to ``fast``."""
    return torch.linspace(-math.log(target) / slow, -math.log(target) / fast, channels)


def _displacements(size: int, reach: float, centered: bool, like: Tensor) -> Tensor:
    """Return ``(size,)`` distances from displacement 0: 0 to ``reach``, or ``reach`` to 0 and back if centered."""
    if not centered:
        return torch.linspace(0, reach, size, dtype=like.dtype, device=like.device)
    offsets = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    return offsets.abs() * (2 * reach / max(size - 1, 1))


@MODELS.register_module()
class RadialWindow(nn.Module):
    """HyenaPixel's window ``exp(-distance * |delta|) + shift`` (arXiv 2402.19305, section 3.2).

    ``distance`` is the Euclidean distance from the kernel's center in pixels. It is a persistent buffer, since official
    checkpoints of resampled kernels have one of another scale. ``delta`` and ``shift`` are learnable.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
    """

    distance: Tensor

    def __init__(self, channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        offsets = [torch.arange(size) - (size - 1) / 2 for size in kernel_size]
        squares = torch.stack(torch.meshgrid(*offsets, indexing='ij')).square()
        self.register_buffer('distance', squares.sum(0).sqrt())  # (*kernel)
        self.delta = nn.Parameter(-decay_rates(channels) / max(kernel_size))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, kernel: Tensor, extend: bool = False) -> Tensor:
        """Return ``kernel`` ``(C, *kernel)`` times the window, stretched to another size, or else continued."""
        distance = (extend_distance if extend else resample_distance)(self.distance, kernel.shape[1:])  # (*kernel)
        view = (-1, *(1,) * self.distance.dim())
        decay, shift = (distance * -self.delta.abs().view(view)).exp_(), self.shift.view(view)  # (C, *kernel)
        if is_inference() and is_ordinary(kernel):  # in place, as fresh memory costs more than the work on it
            return decay.add_(shift).mul_(kernel)
        return kernel * (decay + shift)


@MODELS.register_module()
class BidirectionalWindow(nn.Module):
    """Window ``exp(-t |delta|)`` of bidirectional Hyena; ``t`` is 0 at the center and 1 at both ends.

    Nothing is learnable: the decay rates of the channels are 3.07 to 15.35 (arXiv 2402.19305, section 3.1).

    Args:
        channels: Number of channels C.
        kernel_size: Number of taps, a sequence of one integer.
    """

    distance: Tensor
    delta: Tensor

    def __init__(self, channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        (taps,) = kernel_size
        self.register_buffer('distance', torch.linspace(-1, 1, taps).abs())  # (taps,)
        self.register_buffer('delta', -decay_rates(channels))

    def forward(self, kernel: Tensor, extend: bool = False) -> Tensor:
        """Return ``kernel`` ``(C, taps)`` times the window, stretched to another size, or else continued."""
        distance = (extend_distance if extend else resample_distance)(self.distance, kernel.shape[1:])  # (taps,)
        return kernel * torch.exp(-distance * self.delta.abs()[:, None])


@MODELS.register_module()
class ExponentialWindow(nn.Module):
    """Hyena N-D's window ``prod_a exp(-t_a |delta_a|) + shift`` (arXiv 2309.13600, section 3 and its code).

    ``t_a`` is the normalized displacement on axis ``a``: 0 at displacement 0 and 1 at the largest one. The decay rates
    ``delta`` of the channels are initially 3.07 to 15.35.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        learnable: Whether decay rates and shift are learnable; the shift is then drawn uniformly from 0 to 1.
        shift: Constant shift of a window that is not learnable.
        per_axis: Whether there is a shift per axis, ``prod_a (exp(-t_a |delta_a|) + shift_a)``, as in the official
            code's window of the product filter.
        sqrt: Whether the square root of the decay is taken, before the shift.
        centered: Whether displacement 0 is in the middle of the kernel instead of at its first tap.
    """

    delta: Tensor
    shift: Tensor | float

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int],
        learnable: bool = False,
        shift: float = 0.0,
        per_axis: bool = False,
        sqrt: bool = False,
        centered: bool = False,
    ) -> None:
        super().__init__()
        axes = len(kernel_size)
        self.per_axis, self.centered = per_axis, centered
        self.kernel_size = tuple(kernel_size)
        self.power = 0.5 if sqrt else 1.0
        delta = -decay_rates(channels).repeat(axes, 1)  # (axes, C)
        if learnable:
            self.delta = nn.Parameter(delta)
            self.shift = nn.Parameter(torch.rand(axes, channels) if per_axis else torch.rand(channels))
        else:
            self.register_buffer('delta', delta)
            self.shift = shift

    def _axis_shift(self, axis: int) -> Tensor | float:
        if not self.per_axis:
            return 0.0
        return self.shift[axis][:, None] if isinstance(self.shift, Tensor) else self.shift

    def forward(self, kernel: Tensor, extend: bool = False) -> Tensor:
        """Return ``kernel`` ``(C, *kernel)`` times the window, stretched to another size, or else continued."""
        axes = kernel.dim() - 1
        window: Tensor | float = 1.0
        for axis, (old, size) in enumerate(zip(self.kernel_size, kernel.shape[1:])):
            reach = (size - 1) / max(old - 1, 1) if extend else 1
            t = _displacements(size, reach, self.centered, self.delta)
            factor = torch.exp(-t * self.delta[axis].abs()[:, None] * self.power) + self._axis_shift(axis)  # (C, size)
            window = window * factor.view(-1, *(size if other == axis else 1 for other in range(axes)))
        if not self.per_axis:
            shift = self.shift
            window = window + (shift.view(-1, *(1,) * axes) if isinstance(shift, Tensor) else shift)
        return kernel * window


@MODELS.register_module()
class SymmetricWindow(nn.Module):
    """Hyena N-D's learnable window ``exp(-(i + j) |delta|) + shift`` with integer displacements (arXiv 2309.13600).

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        sqrt: Whether the square root of the decay is taken, before the shift.
        centered: Whether displacement 0 is in the middle of the kernel instead of at its first tap.
    """

    def __init__(self, channels: int, kernel_size: Sequence[int], sqrt: bool = False, centered: bool = False) -> None:
        super().__init__()
        self.power = 0.5 if sqrt else 1.0
        self.centered = centered
        self.reach = [(size - 1) / 2 if centered else size - 1 for size in kernel_size]
        self.delta = nn.Parameter(-decay_rates(channels))
        self.shift = nn.Parameter(torch.rand(channels))

    def forward(self, kernel: Tensor, extend: bool = False) -> Tensor:
        """Return ``kernel`` ``(C, *kernel)`` times the window, stretched to another size, or else continued."""
        sizes = kernel.shape[1:]
        reaches = [(size - 1) / (2 if self.centered else 1) for size in sizes] if extend else self.reach
        t = [_displacements(size, reach, self.centered, self.delta) for reach, size in zip(reaches, sizes)]
        distance = torch.stack(torch.meshgrid(*t, indexing='ij')).sum(0)  # (*kernel)
        view = (-1, *(1,) * distance.dim())
        return kernel * (torch.exp(-distance * self.delta.abs().view(view) * self.power) + self.shift.view(view))
