"""Implicit filters: networks that turn the position code of each tap into the kernel of every channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..registry import MODELS

__all__ = ['ImplicitFilter', 'Sine', 'SineMLP']


class Sine(nn.Module):
    """``sin(frequency * x)`` with a learnable frequency a feature, 1 at first."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., features)`` to the same shape."""
        return torch.sin(self.frequency * x)


class SineMLP(nn.Sequential):
    """Linear layers with a sine after all but the last, which has no bias.

    Args:
        in_features: Length of the input.
        width: Length of the hidden layers.
        out_features: Length of the output.
        depth: Number of linear layers, at least 2.
        shared_sine: Whether all sines use one frequency vector.
    """

    def __init__(self, in_features: int, width: int, out_features: int, depth: int, shared_sine: bool = False) -> None:
        if depth < 2:
            raise ValueError(f'SineMLP needs a depth of at least 2, got {depth}')
        sine = Sine(width)
        layers: list[nn.Module] = [nn.Linear(in_features, width), sine]
        for _ in range(depth - 2):
            layers += [nn.Linear(width, width), sine if shared_sine else Sine(width)]
        super().__init__(*layers, nn.Linear(width, out_features, bias=False))


@MODELS.register_module()
class ImplicitFilter(nn.Module):
    """Kernel of every channel as a network of the tap's position code (arXiv 2402.19305, section 3.2).

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        position: Config of the position code, built with ``kernel_size``.
        width: Width of the network.
        depth: Number of linear layers.
        shared_sine: Whether all sines use one frequency vector.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int],
        position: dict,
        width: int,
        depth: int,
        shared_sine: bool = False,
    ) -> None:
        super().__init__()
        self.position = MODELS.build(dict(position, kernel_size=kernel_size))
        self.mlp = SineMLP(self.position.dim, width, channels, depth, shared_sine)

    def forward(self, kernel_size: Sequence[int]) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``; another size than the built one resamples the position code."""
        return self.mlp(self.position(kernel_size)).movedim(-1, 0)
