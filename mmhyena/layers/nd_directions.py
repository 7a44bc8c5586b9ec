"""Directions: which way the one-sided kernels of Hyena N-D look, and how several ways become one map.

A direction turns kernels, not maps: convolving the flipped map with a kernel that looks up and left, and flipping the
result back, equals convolving the map with the flipped kernel. Each way is a lane of the mixer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.registry import MODELS

__all__ = [
    'AlternatingDirection',
    'CausalDirection',
    'CenteredDirection',
    'Direction',
    'FourWayDirection',
    'ParallelDirection',
    'all_flips',
    'flip_kernel',
]


def all_flips(ndim: int) -> list[tuple[int, ...]]:
    """Return the ``2 ** ndim`` sets of flipped axes, counted in binary with the last axis first.

    In 2-D: none, the columns, the rows, both.
    """
    bits = itertools.product((False, True), repeat=ndim)
    return [tuple(axis for axis, flipped in enumerate(choice) if flipped) for choice in bits]


def flip_kernel(kernel: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the centred kernel ``(C, *(2K - 1))`` of a one-sided one ``(C, *K)`` that looks back along ``axes``.

    The new taps are zeros; the FFT of the long convolution needs the room in any case.
    """
    padding = []
    for axis in reversed(range(kernel.dim() - 1)):
        room = kernel.shape[axis + 1] - 1
        padding += [0, room] if axis in axes else [room, 0]
    return F.pad(kernel.flip([axis + 1 for axis in axes]), padding)


class Direction(nn.Module):
    """Base of the directions, and the causal one.

    Attributes:
        centered: Whether filter and window make kernels that look both ways, ``2 * size - 1`` taps on each axis.
        causal: Whether the kernels of :meth:`kernel` begin at displacement 0; they are centred otherwise.
        copies: How many sets of gates the short convolution makes.
        lanes: How many long convolutions stand side by side in each step.
        out_lanes: How many lanes reach the output projection.

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer, which has ``order - 1`` long convolutions one after another.
    """

    centered = False
    causal = True
    copies = 1
    lanes = 1
    out_lanes = 1

    def __init__(self, channels: int, ndim: int, order: int = 2) -> None:
        super().__init__()
        self.channels, self.ndim, self.order = channels, ndim, order

    def split(self, projected: Tensor) -> Tensor:
        """Divide ``(B, copies * (order + 1) * C, *spatial)`` into gates ``(order + 1, B, copies, C, *spatial)``."""
        gates = projected.unflatten(1, (self.order + 1, self.channels, self.copies))
        return gates.movedim(1, 0).movedim(3, 2)

    def kernel(self, kernel: Tensor, skip: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Turn the kernel ``(C, *kernel)`` and skip ``(C,)`` of a step into those of all lanes, lane after lane."""
        return kernel, skip

    def merge(self, y: Tensor) -> Tensor:
        """Bring the lanes ``(B, *spatial, lanes, C)`` together, ``(B, *spatial, out_lanes * C)``."""
        return y.flatten(-2)


@MODELS.register_module()
class CausalDirection(Direction):
    """Every output sees what lies at or before it on every axis: up and left in 2-D (arXiv 2309.13600, section 3)."""


@MODELS.register_module()
class CenteredDirection(Direction):
    """Every output sees the whole map through one kernel, as in HyenaPixel (ours)."""

    centered = True
    causal = False


@MODELS.register_module()
class AlternatingDirection(Direction):
    """Looks up and left in odd blocks and down and right in even ones (arXiv 2309.13600, section 3; official 'seq').

    With an order above 2 only the first long convolution turns, as in the official code.

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer.
        block_index: Position of the block in its backbone; hosts pass it to the mixer.
    """

    def __init__(self, channels: int, ndim: int, order: int = 2, block_index: int = 0) -> None:
        super().__init__(channels, ndim, order)
        self.causal = block_index % 2 == 1

    def kernel(self, kernel: Tensor, skip: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Flip the kernel of the first step along all axes in even blocks."""
        if self.causal:
            return kernel, skip
        return flip_kernel(kernel, range(self.ndim) if step == 0 else ()), skip


@MODELS.register_module()
class FourWayDirection(Direction):
    """One kernel in all ``2 ** ndim`` flips, then a learned mixture (arXiv 2309.13600, section 3).

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer.
        mix: ``'direction'`` for one weight a flip (official '4dir'), ``'channel'`` for a linear layer over flips and
            channels (official '4dirp'). Both start as the mean over the flips.

    Raises:
        ValueError: If ``mix`` is neither.
    """

    causal = False

    def __init__(self, channels: int, ndim: int, order: int = 2, mix: str = 'direction') -> None:
        super().__init__(channels, ndim, order)
        if mix not in ('direction', 'channel'):
            raise ValueError(f"mix must be 'direction' or 'channel', got {mix!r}")
        self.flips = all_flips(ndim)
        ways = len(self.flips)
        if mix == 'direction':
            self.weight = nn.Parameter(torch.full((ways,), 1 / ways))
            self.bias = nn.Parameter(torch.zeros(()))
        else:
            self.weight = nn.Parameter(torch.eye(channels).repeat(1, ways) / ways)  # (C, ways * C)
            self.bias = nn.Parameter(torch.zeros(channels))
        # A sum of convolutions of one map, which only order 2 has, is a convolution with the sum of the kernels.
        self.lanes = 1 if mix == 'direction' and order == 2 else ways

    def kernel(self, kernel: Tensor, skip: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Flip the kernel every way, and add the ways up if they go through one lane."""
        kernels = torch.stack([flip_kernel(kernel, axes) for axes in self.flips])  # (ways, C, *(2K - 1))
        if self.lanes > 1:
            return kernels.flatten(0, 1), skip.repeat(self.lanes)
        return torch.tensordot(self.weight, kernels, 1), skip * self.weight.sum()

    def merge(self, y: Tensor) -> Tensor:
        """Mix the lanes ``(B, *spatial, lanes, C)`` into ``(B, *spatial, C)``."""
        if self.lanes == 1:
            return y.squeeze(-2) + self.bias
        if self.weight.dim() == 1:
            return torch.einsum('...wc,w->...c', y, self.weight.to(y.dtype)) + self.bias
        return F.linear(y.flatten(-2), self.weight, self.bias)


@MODELS.register_module()
class ParallelDirection(Direction):
    """A branch for each of the ``2 ** ndim`` flips, with gates of its own; the output projection joins them.

    The official branches (arXiv 2309.13600, code) all look the same way and have the channels of queries, keys and
    values mixed up between them. Ours look in different directions.

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer.
        official: Whether the branches are those of the official code, to run its checkpoints.
    """

    def __init__(self, channels: int, ndim: int, order: int = 2, official: bool = False) -> None:
        super().__init__(channels, ndim, order)
        self.flips = all_flips(ndim)
        self.copies = self.lanes = self.out_lanes = len(self.flips)
        self.official = self.causal = official

    def split(self, projected: Tensor) -> Tensor:
        """Divide ``(B, copies * (order + 1) * C, *spatial)`` into gates ``(order + 1, B, copies, C, *spatial)``."""
        if not self.official:
            return super().split(projected)
        return projected.unflatten(1, (self.copies, self.order + 1, self.channels)).movedim(2, 0)

    def kernel(self, kernel: Tensor, skip: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Flip the kernel for every branch."""
        flips = [flip_kernel(kernel, axes) for axes in self.flips] if not self.official else [kernel] * self.lanes
        return torch.cat(flips), skip.repeat(self.lanes)
