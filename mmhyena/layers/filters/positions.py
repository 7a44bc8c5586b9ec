"""Positional encodings: the input of an implicit filter network at every tap of its kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmhyena.layers.filters.resample import resample
from mmhyena.registry import MODELS

__all__ = ['AxialPosition', 'ComplexExponentialPosition', 'SinCosPosition']


class PositionTable(nn.Module):
    """A learnable encoding per tap, resampled if another kernel size is asked for.

    Args:
        table: Initial encoding ``(*kernel, dim)``.
    """

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)
        self.dim = table.shape[-1]

    def forward(self, kernel_size: Sequence[int]) -> Tensor:
        """Return the encoding ``(*kernel_size, dim)``."""
        return resample(self.table.movedim(-1, 0), kernel_size).movedim(0, -1)


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
        bands = dim // (2 * axes)
        frequency = 10000.0 ** (-torch.arange(bands) / bands)
        encodings = []
        for axis, size in enumerate(kernel_size):
            angle = torch.arange(size)[:, None] * frequency  # (size, bands)
            encoding = torch.cat([angle.sin(), angle.cos()], dim=-1)
            view = [1] * axes + [encoding.shape[-1]]
            view[axis] = size
            encodings.append(encoding.view(view).expand(*kernel_size, -1))
        super().__init__(torch.cat(encodings, dim=-1))  # (*kernel, dim)


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
        (taps,), bands = kernel_size, (dim - 1) // 2
        rise = torch.linspace(0, 1, taps // 2 + 1)
        ramp = torch.cat([rise[:-1], rise.flip(0)])[:, None]  # (taps, 1)
        angle = torch.linspace(1e-4, bands - 1, bands) * (2 * math.pi / taps * torch.arange(taps)[:, None])
        super().__init__(torch.cat([ramp, angle.cos(), -angle.sin()], dim=-1))  # (taps, dim)


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
        taps, bands = max(kernel_size), (dim - 1) // 2
        t = torch.linspace(-1 if centered else 0, 1, taps)[:, None]
        angle = torch.linspace(1e-4, bands - 1, bands) * (2 * math.pi / taps * torch.arange(taps)[:, None])
        self.table = nn.Parameter(torch.cat([t, angle.cos(), -angle.sin()], dim=-1))  # (taps, dim)
        self.dim = dim

    def forward(self, kernel_size: Sequence[int]) -> list[Tensor]:
        """Return the encoding ``(size, dim)`` of every axis."""
        table = self.table.T  # (dim, taps)
        return [resample(table, (size,)).T for size in kernel_size]
