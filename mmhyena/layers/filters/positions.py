"""Positional encodings: the input of an implicit filter network at every tap of its kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmhyena.layers.filters.resample import axis_spacings, resample
from mmhyena.registry import MODELS

__all__ = ['AxialPosition', 'ComplexExponentialPosition', 'SinCosPosition']


class PositionTable(nn.Module):
    """A learnable encoding per tap, resampled or continued if another kernel size is asked for.

    Args:
        kernel_size: Taps on each axis; a larger kernel has the same center.
        dim: Length of the encoding.
    """

    def __init__(self, kernel_size: Sequence[int], dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.table = nn.Parameter(self.initial([torch.arange(size) for size in kernel_size]))  # (*kernel, dim)

    def initial(self, index: Sequence[Tensor]) -> Tensor:
        """Return the initial encoding ``(*sizes, dim)`` at tap indices ``(size,)`` per axis, which may lie outside."""
        raise NotImplementedError

    def forward(self, kernel_size: Sequence[int], extend: bool = False) -> Tensor:
        """Return the encoding ``(*kernel_size, dim)``.

        Args:
            kernel_size: Taps on each axis.
            extend: Whether taps are added around those of the table instead of resampling it. The initial encoding is
                continued there, and what training changed at the nearest tap of the table is added.
        """
        if not extend:
            return resample(self.table, kernel_size, first=0)
        index = [
            torch.arange(new, device=self.table.device) - (new - old) // 2
            for old, new in zip(self.table.shape[:-1], kernel_size)
        ]
        nearest = [taps.clamp(0, old - 1) for old, taps in zip(self.table.shape[:-1], index)]
        table: Tensor = self.table
        for axis, taps in enumerate(nearest):
            table = table.index_select(axis, taps)
        return table + (self.initial(index) - self.initial(nearest)).to(table.dtype)


@MODELS.register_module()
class SinCosPosition(PositionTable):
    """Learnable encoding of any number of axes, initially sines and cosines of the pixel index on each axis.

    HyenaPixel's 2-D encoding (arXiv 2402.19305, section 3.2): ``dim`` is divided equally among the axes, with ``n``
    sines and ``n`` cosines of frequencies ``10000 ** (-i / n)`` per axis.

    Args:
        kernel_size: Taps on each axis.
        dim: Length of the encoding, a multiple of twice the number of axes.

    Raises:
        ValueError: If ``dim`` is not such a multiple.
    """

    def __init__(self, kernel_size: Sequence[int], dim: int = 32) -> None:
        axes = len(kernel_size)
        if dim % (2 * axes):
            raise ValueError(f'SinCosPosition over {axes} axes needs dim to be a multiple of {2 * axes}, got {dim}')
        super().__init__(kernel_size, dim)

    def initial(self, index: Sequence[Tensor]) -> Tensor:
        """Return sines and cosines ``(*sizes, dim)`` of the indices ``(size,)`` per axis."""
        axes = len(index)
        sizes = [len(taps) for taps in index]
        bands = self.dim // (2 * axes)
        frequency = 10000.0 ** (-torch.arange(bands, device=index[0].device) / bands)
        encodings = []
        for axis, taps in enumerate(index):
            angle = taps[:, None] * frequency  # (size, bands)
            encoding = torch.cat([angle.sin(), angle.cos()], dim=-1)
            view = [1] * axes + [encoding.shape[-1]]
            view[axis] = len(taps)
            encodings.append(encoding.view(view).expand(*sizes, -1))
        return torch.cat(encodings, dim=-1)


@MODELS.register_module()
class ComplexExponentialPosition(PositionTable):
    """Learnable 1-D encoding of bidirectional Hyena: a triangular ramp and the parts of complex exponentials.

    The ramp rises from 0 at the first tap to 1 at the center and falls back to 0 at the last. It is followed by the
    real and the imaginary parts of ``exp(-i f 2 pi n / N)`` for tap ``n`` of ``N`` at the frequencies
    ``f = linspace(1e-4, bands - 1, bands)`` (Hyena Hierarchy, arXiv 2302.10866, appendix D; centered by HyenaPixel,
    arXiv 2402.19305).

    Args:
        kernel_size: Number of taps, a sequence of one odd integer.
        dim: Length of the encoding, odd: ``1 + 2 * bands``.

    Raises:
        ValueError: If the kernel has more than one axis or an even number of taps, or ``dim`` is even.
    """

    def __init__(self, kernel_size: Sequence[int], dim: int = 33) -> None:
        if len(kernel_size) != 1 or kernel_size[0] % 2 == 0:
            raise ValueError(f'ComplexExponentialPosition needs one axis with an odd kernel, got {tuple(kernel_size)}')
        if dim < 3 or dim % 2 == 0:
            raise ValueError(f'ComplexExponentialPosition needs an odd dim of at least 3, got {dim}')
        (self.taps,) = kernel_size
        super().__init__(kernel_size, dim)

    def initial(self, index: Sequence[Tensor]) -> Tensor:
        """Return ramp, cosines and sines ``(size, dim)`` at the indices ``(size,)`` of the only axis."""
        (taps,) = index
        center = self.taps // 2
        ramp = 1 - (taps[:, None] - center).abs() / max(center, 1)  # (size, 1)
        angle = _angles(taps, self.taps, self.dim)
        return torch.cat([ramp, angle.cos(), -angle.sin()], dim=-1)


@MODELS.register_module()
class AxialPosition(nn.Module):
    """Learnable encoding of Hyena N-D: one table over the normalized position, which serves every axis.

    Entry ``n`` of ``N`` is initially ``[t, cos(f w), -sin(f w)]`` with ``t = n / (N - 1)``, ``w = 2 pi n / N`` and the
    frequencies ``f = linspace(1e-4, bands - 1, bands)`` (arXiv 2309.13600, section 3; Hyena Hierarchy, arXiv
    2302.10866, appendix D). A centered kernel has displacements of both signs, so its ``t`` runs from -1 to 1 (ours).

    Args:
        kernel_size: Taps on each axis; the table is as long as the longest and resampled to the others.
        dim: Length of the encoding of one axis, odd: ``1 + 2 * bands``.
        centered: Whether displacement 0 is in the middle of the kernel instead of at its first tap.

    Raises:
        ValueError: If ``dim`` is even or smaller than 3.
    """

    def __init__(self, kernel_size: Sequence[int], dim: int = 3, centered: bool = False) -> None:
        super().__init__()
        if dim < 3 or dim % 2 == 0:
            raise ValueError(f'AxialPosition needs an odd dim of at least 3, got {dim}')
        self.kernel_size, self.centered, self.dim = tuple(kernel_size), centered, dim
        self.table = nn.Parameter(self.initial(torch.arange(max(kernel_size))))  # (taps, dim)

    def initial(self, index: Tensor) -> Tensor:
        """Return the initial encoding ``(size, dim)`` at entries ``(size,)``, which may be fractions and outside."""
        taps = max(self.kernel_size)
        t = index[:, None] / max(taps - 1, 1)
        t = 2 * t - 1 if self.centered else t
        angle = _angles(index, taps, self.dim)
        return torch.cat([t, angle.cos(), -angle.sin()], dim=-1)

    def forward(self, kernel_size: Sequence[int], extend: bool = False) -> list[Tensor]:
        """Return the encoding ``(size, dim)`` of every axis, for other sizes resampled or else continued."""
        if extend:
            return [self._extended(old, new) for old, new in zip(self.kernel_size, kernel_size)]
        table = self.table.T  # (dim, taps)
        return [resample(table, (size,)).T for size in kernel_size]

    def _extended(self, old: int, new: int) -> Tensor:
        """Return the encoding ``(new, dim)`` of an axis whose ``old`` taps keep their encoding, see PositionTable."""
        index = torch.arange(new, device=self.table.device) - ((new - old) // 2 if self.centered else 0)
        nearest = index.clamp(0, old - 1)
        (spacing,) = axis_spacings((len(self.table),), (old,))
        added = self.initial(index * spacing) - self.initial(nearest * spacing)
        return resample(self.table.T, (old,)).T[nearest] + added.to(self.table.dtype)


def _angles(index: Tensor, taps: int, dim: int) -> Tensor:
    """Return the angles ``(size, (dim - 1) / 2)`` of the complex exponentials at entries ``(size,)`` of ``taps``."""
    bands = (dim - 1) // 2
    frequency = torch.linspace(1e-4, bands - 1, bands, device=index.device)
    return frequency * (2 * math.pi / taps * index[:, None])
