"""Filters: what makes the kernel of every channel, a network of each tap's position or the taps themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.layers.filters.resample import resample
from mmhyena.registry import MODELS

__all__ = ['DirectFilter', 'ImplicitFilter', 'JointFilter', 'ProductFilter', 'Sine', 'SineMLP']


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
    """

    def __init__(self, in_features: int, width: int, out_features: int, depth: int) -> None:
        if depth < 2:
            raise ValueError(f'SineMLP needs a depth of at least 2, got {depth}')
        layers: list[nn.Module] = [nn.Linear(in_features, width), Sine(width)]
        for _ in range(depth - 2):
            layers += [nn.Linear(width, width), Sine(width)]
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
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int],
        position: dict,
        width: int,
        depth: int,
    ) -> None:
        super().__init__()
        self.position = MODELS.build(dict(position, kernel_size=kernel_size))
        self.mlp = SineMLP(self.position.dim, width, channels, depth)

    def forward(self, kernel_size: Sequence[int]) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``; another size than the built one resamples the position code."""
        return self.mlp(self.position(kernel_size)).movedim(-1, 0)


class FilterLinear(nn.Module):
    """A linear layer that a backbone's initialisation of its ``nn.Linear`` layers leaves alone.

    Three layers of weights of .02 in a row, as vision transformers draw them, would make every kernel vanish.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        return F.linear(x, self.weight, self.bias)


class FilterMLP(nn.Module):
    """Linear layers with one sine, given from outside, after all but the last, which has no bias.

    Args:
        in_features: Length of the input.
        width: Length of the hidden layers.
        out_features: Length of the output.
        depth: Number of linear layers, at least 2.
    """

    def __init__(self, in_features: int, width: int, out_features: int, depth: int) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f'a filter network needs a depth of at least 2, got {depth}')
        self.layers = nn.ModuleList(FilterLinear(width if i else in_features, width) for i in range(depth - 1))
        self.layers.append(FilterLinear(width, out_features, bias=False))

    def forward(self, x: Tensor, sine: Sine) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        for layer in self.layers[:-1]:
            x = sine(layer(x))
        return self.layers[-1](x)

    @torch.no_grad()
    def scale_(self, factor: Tensor) -> None:
        """Multiply the outputs by ``factor`` ``(out_features,)``."""
        self.layers[-1].weight.mul_(factor[:, None])


_AXIAL = dict(type='AxialPosition')


class AxialFilter(nn.Module):
    """Base of the filters of Hyena N-D that are networks of axial position codes (arXiv 2309.13600, section 3).

    One frequency vector serves all sines.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        width: Width of a network.
        depth: Number of linear layers.
        position: Config of the position code, which gives ``(size, dim)`` for every axis.
        centered: Whether displacement 0 is in the middle of the kernel instead of at its first tap.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int],
        width: int = 64,
        depth: int = 4,
        position: dict = _AXIAL,
        centered: bool = False,
    ) -> None:
        super().__init__()
        self.position = MODELS.build(dict(position, kernel_size=kernel_size, centered=centered))
        self.sine = Sine(width)
        self._make_networks(len(kernel_size), channels, width, depth)

    def _make_networks(self, axes: int, channels: int, width: int, depth: int) -> None:
        raise NotImplementedError


@MODELS.register_module()
class JointFilter(AxialFilter):
    """Hyena N-D's implicit filter: a network of the codes of all axes at once, ``h[i, j] = MLP([z_i, z_j])``.

    The kernel of a channel has full rank. Arguments are those of :class:`AxialFilter`.
    """

    def _make_networks(self, axes: int, channels: int, width: int, depth: int) -> None:
        self.mlp = FilterMLP(axes * self.position.dim, width, channels, depth)

    def forward(self, kernel_size: Sequence[int]) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``."""
        axes = len(kernel_size)
        codes = [
            code.view(*(-1 if other == axis else 1 for other in range(axes)), self.position.dim).expand(
                *kernel_size, -1
            )  # (*kernel_size, dim)
            for axis, code in enumerate(self.position(kernel_size))
        ]
        return self.mlp(torch.cat(codes, dim=-1), self.sine).movedim(-1, 0)

    def scale_(self, factor: Tensor) -> None:
        """Multiply the kernel of each channel by ``factor`` ``(C,)`` in place."""
        self.mlp.scale_(factor)


@MODELS.register_module()
class ProductFilter(AxialFilter):
    """Hyena N-D's product filter: a network for each axis, ``h[i, j] = h1[i] h2[j]``.

    The kernel of a channel has rank 1. Arguments are those of :class:`AxialFilter`.
    """

    def _make_networks(self, axes: int, channels: int, width: int, depth: int) -> None:
        self.mlps = nn.ModuleList(FilterMLP(self.position.dim, width, channels, depth) for _ in range(axes))

    def forward(self, kernel_size: Sequence[int]) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``."""
        factors = [mlp(code, self.sine).T for mlp, code in zip(self.mlps, self.position(kernel_size))]  # (C, size)
        kernel = factors[0]
        for factor in factors[1:]:
            kernel = kernel[..., None] * factor.view(len(factor), *(1,) * (kernel.dim() - 1), -1)
        return kernel

    def scale_(self, factor: Tensor) -> None:
        """Multiply the kernel of each channel by ``factor`` ``(C,)`` in place, shared equally between the axes."""
        for mlp in self.mlps:
            mlp.scale_(factor ** (1 / len(self.mlps)))


@MODELS.register_module()
class DirectFilter(nn.Module):
    """The taps themselves as parameters; resampled linearly at another size (arXiv 2309.13600, section 3).

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
    """

    def __init__(self, channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(channels, *kernel_size))

    def forward(self, kernel_size: Sequence[int]) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``."""
        return resample(self.kernel, kernel_size)

    @torch.no_grad()
    def scale_(self, factor: Tensor) -> None:
        """Multiply the kernel of each channel by ``factor`` ``(C,)`` in place."""
        self.kernel.mul_(factor.view(-1, *(1,) * (self.kernel.dim() - 1)))
