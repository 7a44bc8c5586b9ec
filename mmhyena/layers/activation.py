"""Activations of the MetaFormer shell."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.ops import star_relu

__all__ = ['SquaredReLU', 'StarReLU']


class StarReLU(nn.Module):
    """``scale * relu(x) ** 2 + bias`` with learnable scalars (MetaFormer baselines, arXiv 2210.13452, section 2.3).

    The initial values make the output of a standard normal input standard: scale 0.8944, bias -0.4472.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.8944]))
        self.bias = nn.Parameter(torch.tensor([-0.4472]))

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same shape."""
        return star_relu(x, self.scale, self.bias)


class SquaredReLU(nn.Module):
    """``relu(x) ** 2`` (Primer, arXiv 2109.08668)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same shape."""
        return F.relu(x).square()
