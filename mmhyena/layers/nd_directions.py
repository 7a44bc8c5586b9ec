"""Directions: how Hyena N-D flips its one-sided kernels, and how the results of several flips are combined.

Kernels are flipped and not feature maps: convolving the flipped feature map with a kernel that looks up and left, and
flipping the result back, equals convolving the feature map with the flipped kernel. Each flip that needs a convolution
of its own is a branch of the mixer.
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
    """Return the ``2 ** ndim`` sets of flipped axes in binary order, in which the last axis changes fastest.

    In 2-D: none, the columns, the rows, both.
    """
    bits = itertools.product((False, True), repeat=ndim)
    return [tuple(axis for axis, flipped in enumerate(choice) if flipped) for choice in bits]


def flip_kernel(kernel: Tensor, axes: Sequence[int]) -> Tensor:
    """Flip a one-sided kernel ``(C, *K)`` along ``axes`` and zero-pad it to a centered one, ``(C, *(2K - 1))``.

    The padding costs nothing: the FFT of the long convolution needs it in any case.
    """
    padding = []
    for axis in reversed(range(kernel.dim() - 1)):
        room = kernel.shape[axis + 1] - 1
        padding += [0, room] if axis in axes else [room, 0]
    return F.pad(kernel.flip([axis + 1 for axis in axes]), padding)


class Direction(nn.Module):
    """Base class of the directions, which looks one way.

    Attributes:
        centered: Whether filter and window make kernels that look both ways, with ``2 * size - 1`` taps on each axis.
        causal: Whether displacement 0 is at the first tap of the kernels of :meth:`kernel`; otherwise in the middle.
        copies: Number of sets of gates that the short convolution makes.
        branches: Number of parallel long convolutions in each step.
        out_branches: Number of branches that reach the output projection.

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer, which has ``order - 1`` consecutive long convolutions.
    """

    centered = False
    causal = True
    copies = 1
    branches = 1
    out_branches = 1

    def __init__(self, channels: int, ndim: int, order: int = 2) -> None:
        super().__init__()
        self.channels, self.ndim, self.order = channels, ndim, order

    def split(self, projected: Tensor) -> Tensor:
        """Split ``(B, copies * (order + 1) * C, *spatial)`` into gates ``(order + 1, B, copies, C, *spatial)``."""
        gates = projected.unflatten(1, (self.order + 1, self.channels, self.copies))
        return gates.movedim(1, 0).movedim(3, 2)

    def kernel(self, kernel: Tensor, skip: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the concatenated kernels and skips of all branches for ``(C, *kernel)`` and ``(C,)`` of a step."""
        return kernel, skip

    def merge(self, y: Tensor) -> Tensor:
        """Combine the branches ``(B, *spatial, branches, C)`` into ``(B, *spatial, out_branches * C)``."""
        return y.flatten(-2)


@MODELS.register_module()
class CausalDirection(Direction):
    """Every output sees the pixels at or before it on every axis: up and left in 2-D (arXiv 2309.13600, section 3)."""


@MODELS.register_module()
class CenteredDirection(Direction):
    """Every output sees the whole feature map through one kernel, as in HyenaPixel (ours)."""

    centered = True
    causal = False


@MODELS.register_module()
class AlternatingDirection(Direction):
    """Looks up and left in odd blocks and down and right in even ones (arXiv 2309.13600, section 3; official 'seq').

    With an order above 2, only the kernel of the first long convolution is flipped, as in the official code.

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer.
        block_index: Position of the block in its backbone, which passes it to the mixer.
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
    """One kernel in all ``2 ** ndim`` flips, whose results a learned layer mixes (arXiv 2309.13600, section 3).

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer.
        mix: ``'direction'`` for one weight per flip (official '4dir'), ``'channel'`` for a linear layer over flips and
            channels (official '4dirp'). Both are initially the mean over the flips.

    Raises:
        ValueError: If ``mix`` is neither of them.
    """

    causal = False

    def __init__(self, channels: int, ndim: int, order: int = 2, mix: str = 'direction') -> None:
        super().__init__(channels, ndim, order)
        if mix not in ('direction', 'channel'):
            raise ValueError(f"mix must be 'direction' or 'channel', got {mix!r}")
        self.flips = all_flips(ndim)
        flips = len(self.flips)
        if mix == 'direction':
            self.weight = nn.Parameter(torch.full((flips,), 1 / flips))
            self.bias = nn.Parameter(torch.zeros(()))
        else:
            self.weight = nn.Parameter(torch.eye(channels).repeat(1, flips) / flips)  # (C, flips * C)
            self.bias = nn.Parameter(torch.zeros(channels))
        # With order 2 all flips convolve the same feature map: this equals one convolution with the sum of kernels.
        self.branches = 1 if mix == 'direction' and order == 2 else flips

    def kernel(self, kernel: Tensor, skip: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Flip the kernel along every set of axes; with one branch, return the weighted sum of the flips."""
        kernels = torch.stack([flip_kernel(kernel, axes) for axes in self.flips])  # (flips, C, *(2K - 1))
        if self.branches > 1:
            return kernels.flatten(0, 1), skip.repeat(self.branches)
        return torch.tensordot(self.weight, kernels, 1), skip * self.weight.sum()

    def merge(self, y: Tensor) -> Tensor:
        """Mix the branches ``(B, *spatial, branches, C)`` into ``(B, *spatial, C)``."""
        if self.branches == 1:
            return y.squeeze(-2) + self.bias
        if self.weight.dim() == 1:
            return torch.einsum('...fc,f->...c', y, self.weight.to(y.dtype)) + self.bias
        return F.linear(y.flatten(-2), self.weight, self.bias)


@MODELS.register_module()
class ParallelDirection(Direction):
    """One branch with gates of its own per flip, ``2 ** ndim`` in all; the output projection combines them.

    In the official code (arXiv 2309.13600) all branches look the same way, and the channels of queries, keys and values
    are permuted among them. Ours look in different directions.

    Args:
        channels: Number of channels C.
        ndim: Number of axes.
        order: Order of the mixer.
        official: Whether to compute the branches of the official code, for its checkpoints.
    """

    def __init__(self, channels: int, ndim: int, order: int = 2, official: bool = False) -> None:
        super().__init__(channels, ndim, order)
        self.flips = all_flips(ndim)
        self.copies = self.branches = self.out_branches = len(self.flips)
        self.official = self.causal = official

    def split(self, projected: Tensor) -> Tensor:
        """Split ``(B, copies * (order + 1) * C, *spatial)`` into gates ``(order + 1, B, copies, C, *spatial)``."""
        if not self.official:
            return super().split(projected)
        return projected.unflatten(1, (self.copies, self.order + 1, self.channels)).movedim(2, 0)

    def kernel(self, kernel: Tensor, skip: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Flip the kernel for every branch."""
        flips = [flip_kernel(kernel, axes) for axes in self.flips] if not self.official else [kernel] * self.branches
        return torch.cat(flips), skip.repeat(self.branches)
