"""The kernels that trained long convolutions have: their shape in space, their spectra, how far they reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mmhyena.analysis.reach import long_convs, stage_of
from mmhyena.layers import LongConv

__all__ = ['TAPS', 'KernelSummary', 'summarize_kernels']

#: Widths whose share of a kernel's energy is reported.
TAPS = (3, 7, 15, 31)


@dataclass(frozen=True)
class KernelSummary:
    """The kernel of one long convolution.

    Attributes:
        name: The module's name.
        stage: The stage, see :func:`~mmhyena.analysis.reach.stage_of`.
        kernel: ``(C, *kernel)``.
        causal: Whether displacement 0 is the first tap instead of the middle one.
    """

    name: str
    stage: int | None
    kernel: np.ndarray
    causal: bool

    @property
    def energy(self) -> np.ndarray:
        """Squared taps, averaged over the channels after each was divided by its sum, ``(*kernel,)``."""
        squares = np.square(self.kernel, dtype=np.float64)
        total = squares.reshape(len(squares), -1).sum(1).reshape(-1, *[1] * (squares.ndim - 1))
        return (squares / np.maximum(total, np.finfo(np.float64).tiny)).mean(0)

    def displacements(self) -> list[np.ndarray]:
        """Return the displacement of every tap on each axis."""
        return [np.arange(size) - (0 if self.causal else size // 2) for size in self.kernel.shape[1:]]

    def share_within(self, taps: int) -> float:
        """Return the share of the energy within the central ``taps`` taps on every axis."""
        energy = self.energy
        for axis, displacement in enumerate(self.displacements()):
            energy = np.compress(np.abs(displacement) <= taps // 2, energy, axis=axis)
        return float(energy.sum())

    def radius(self) -> float:
        """Return the root mean square displacement, in taps, weighted by the energy."""
        grids = np.meshgrid(*self.displacements(), indexing='ij')
        return float(np.sqrt((self.energy * sum(np.square(grid) for grid in grids)).sum()))

    def sums(self) -> np.ndarray:
        """Return the sum over the taps of every channel, ``(C,)``, which is its answer to a constant map."""
        return self.kernel.reshape(len(self.kernel), -1).sum(1)

    def norms(self) -> np.ndarray:
        """Return the L2 norm of every channel, ``(C,)``."""
        return np.linalg.norm(self.kernel.reshape(len(self.kernel), -1), axis=1)

    def frequency(self) -> float:
        """Return the mean distance from frequency 0 in cycles per tap, weighted by the power of every channel."""
        axes = tuple(range(1, self.kernel.ndim))
        padded = [4 * size for size in self.kernel.shape[1:]]  # a finer spectrum, whatever the number of taps
        power = np.abs(np.fft.fftn(self.kernel, padded, axes=axes)) ** 2
        grids = np.meshgrid(*(np.fft.fftfreq(size) for size in padded), indexing='ij')
        distance = np.sqrt(sum(np.square(grid) for grid in grids))
        total = np.maximum(power.sum(axes), np.finfo(np.float64).tiny)
        return float(((power * distance).sum(axes) / total).mean())

    def spectrum(self) -> np.ndarray:
        """Return the magnitude of the transform of every channel, frequency 0 in the middle, ``(C, *kernel)``."""
        axes = tuple(range(1, self.kernel.ndim))
        return np.abs(np.fft.fftshift(np.fft.fftn(self.kernel, axes=axes), axes=axes))

    def strongest(self, count: int) -> np.ndarray:
        """Return the indices of the channels whose kernels have the largest norms."""
        return np.argsort(-self.norms())[:count]


def summarize_kernels(model: nn.Module, spatial: Sequence[int] | None = None) -> list[KernelSummary]:
    """Return the kernels of all long convolutions of a model.

    Args:
        model: Any model.
        spatial: Size of the feature map for which kernels that follow the map are resampled; None for the trained size.

    Raises:
        ValueError: If the model has no long convolution.
    """
    summaries = []
    for name, conv in long_convs(model).items():
        with torch.no_grad():
            kernel = conv.kernel(_spatial(conv, spatial)).float().cpu().numpy()
        summaries.append(KernelSummary(name, stage_of(name), kernel, conv.causal))
    if not summaries:
        raise ValueError('the model has no long convolutions')
    return summaries


def _spatial(conv: LongConv, spatial: Sequence[int] | None) -> Sequence[int]:
    """Return the map size at which ``conv`` has as many taps as it was built with, or ``spatial`` if given."""
    if spatial is None:
        return [size if conv.causal else (size + 1) // 2 for size in conv.kernel_size]
    return [int(np.prod(spatial))] if len(conv.kernel_size) == 1 else spatial
