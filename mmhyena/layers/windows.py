"""Windows: how a kernel fades with the displacement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..registry import MODELS
from .resample import resample

__all__ = ['BidirectionalWindow', 'RadialWindow', 'decay_rates']


def decay_rates(channels: int, fast: float = 0.3, slow: float = 1.5, target: float = 0.01) -> Tensor:
    """Return ``(channels,)`` rates from slow to fast: ``exp(-rate * t)`` is ``target`` at ``t = slow .. fast``."""
    return torch.linspace(-math.log(target) / slow, -math.log(target) / fast, channels)


@MODELS.register_module()
class RadialWindow(nn.Module):
    """HyenaPixel's window ``exp(-distance * |delta|) + shift`` (arXiv 2402.19305, section 3.2).

    ``distance`` is Euclidean, in pixels, from the kernel's centre; it is a buffer that is saved, since official
    checkpoints of resampled kernels carry one of another scale. ``delta`` and ``shift`` are learnable.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
    """

    def __init__(self, channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        offsets = [torch.arange(size) - (size - 1) / 2 for size in kernel_size]
        squares = torch.stack(torch.meshgrid(*offsets, indexing='ij')).square()
        self.register_buffer('distance', squares.sum(0).sqrt())  # (*kernel)
        self.delta = nn.Parameter(-decay_rates(channels) / max(kernel_size))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, kernel: Tensor) -> Tensor:
        """Weight ``kernel`` ``(C, *kernel)``; at another size the window is stretched and keeps its shape."""
        distance = resample(self.distance[None], kernel.shape[1:])  # (1, *kernel)
        view = (-1, *(1,) * self.distance.dim())
        return kernel * (torch.exp(-distance * self.delta.abs().view(view)) + self.shift.view(view))


@MODELS.register_module()
class BidirectionalWindow(nn.Module):
    """Window ``exp(-t |delta|)`` of bidirectional Hyena; ``t`` rises from 0 at the centre to 1 at both ends.

    Nothing is learnable: the rates run from 3.07 to 15.35 over the channels (arXiv 2402.19305, section 3.1).

    Args:
        channels: Number of channels C.
        kernel_size: Number of taps, a sequence of one integer.
    """

    def __init__(self, channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        (taps,) = kernel_size
        self.register_buffer('distance', torch.linspace(-1, 1, taps).abs())  # (taps,)
        self.register_buffer('delta', -decay_rates(channels))

    def forward(self, kernel: Tensor) -> Tensor:
        """Weight ``kernel`` ``(C, taps)``; at another size the window is stretched and keeps its shape."""
        distance = resample(self.distance[None], kernel.shape[1:])  # (1, taps)
        return kernel * torch.exp(-distance * self.delta.abs()[:, None])
