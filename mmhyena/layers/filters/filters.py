"""Filters, which give the kernel of every channel: networks of each tap's position, or the taps as parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.layers.filters.resample import resample
from mmhyena.ops import is_inference, is_ordinary, linear
from mmhyena.registry import MODELS

__all__ = ['DirectFilter', 'ImplicitFilter', 'JointFilter', 'ProductFilter', 'Sine', 'SineMLP']

# Taps that a filter network makes at a time in evaluation, so that its hidden layers stay in the cache.
TILE = 2**14


class Sine(nn.Module):
    """``sin(frequency * x)`` with a learnable frequency per feature, initially 1."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the sine to ``x`` ``(..., features)``."""
        return torch.sin(self.frequency * x)


class FilterLinear(nn.Module):
    """A linear layer of a filter network, with its own initialization.

    It is not an ``nn.Linear``, so that a backbone or an ``init_cfg`` for ``layer='Linear'`` does not initialize it:
    after several layers with small weights every kernel would vanish.

    Args:
        in_features: Length of the input.
        out_features: Length of the output.
        bias: Whether there is a bias.
        std: Standard deviation of truncated normal weights, with a bias of 0. None draws weights and bias uniformly
            from ``-in_features ** -0.5`` to ``in_features ** -0.5``, as ``nn.Linear`` does.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, std: float | None = None) -> None:
        super().__init__()
        self.std = std
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        bound = self.weight.shape[1] ** -0.5
        if self.std is None:
            nn.init.uniform_(self.weight, -bound, bound)
        else:
            nn.init.trunc_normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound) if self.std is None else nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` ``(..., in_features)``; returns ``(..., out_features)``."""
        return linear(x, self.weight, self.bias)


class SineMLP(nn.Sequential):
    """Linear layers, each but the last followed by its own :class:`Sine`; the last has no bias.

    Args:
        in_features: Length of the input.
        width: Length of the hidden layers.
        out_features: Length of the output.
        depth: Number of linear layers, at least 2.
        std: See :class:`FilterLinear`.
    """

    def __init__(self, in_features: int, width: int, out_features: int, depth: int, std: float | None = None) -> None:
        if depth < 2:
            raise ValueError(f'a filter network needs a depth of at least 2, got {depth}')
        layers: list[nn.Module] = [FilterLinear(in_features, width, std=std), Sine(width)]
        for _ in range(depth - 2):
            layers += [FilterLinear(width, width, std=std), Sine(width)]
        super().__init__(*layers, FilterLinear(width, out_features, bias=False, std=std))


@MODELS.register_module()
class ImplicitFilter(nn.Module):
    """Implicit kernels: a network of each tap's positional encoding (arXiv 2402.19305, section 3.2).

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        position: Config of the positional encoding, built with ``kernel_size``.
        width: Width of the network.
        depth: Number of linear layers.
        init_std: Standard deviation of the initial weights, 0.02 as in the official code; None for the
            initialization of ``nn.Linear``.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int],
        position: dict,
        width: int,
        depth: int,
        init_std: float | None = 0.02,
    ) -> None:
        super().__init__()
        self.position = MODELS.build(dict(position, kernel_size=kernel_size))
        self.mlp = SineMLP(self.position.dim, width, channels, depth, init_std)

    def forward(self, kernel_size: Sequence[int], extend: bool = False) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``; for another size the encoding is resampled, or else continued."""
        positions = self.position(kernel_size, extend).flatten(0, -2)  # (taps, dim)
        if len(positions) <= TILE or not (is_inference() and is_ordinary(positions)):
            # By channels, as all that follows reads it: transposing two axes is fast, permuting more of them is not.
            return self.mlp(positions).t().contiguous().unflatten(-1, kernel_size)
        kernel = torch.empty(0)
        for start in range(0, len(positions), TILE):
            taps = self.mlp(positions[start : start + TILE]).t()  # (C, tile)
            if start == 0:
                kernel = taps.new_empty(len(taps), len(positions))
            kernel[:, start : start + TILE] = taps
        return kernel.unflatten(-1, kernel_size)


class FilterMLP(nn.Module):
    """Linear layers, each but the last followed by one shared sine; the last has no bias.

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
        """Apply the layers to ``x`` ``(..., in_features)``; returns ``(..., out_features)``."""
        *hidden, last = self.layers
        for layer in hidden:
            x = sine(layer(x))
        return last(x)

    @torch.no_grad()
    def scale_(self, factor: Tensor) -> None:
        """Multiply the outputs by ``factor`` ``(out_features,)``."""
        self.layers[-1].get_parameter('weight').mul_(factor[:, None])


_AXIAL = dict(type='AxialPosition')


class AxialFilter(nn.Module):
    """Base of Hyena N-D's implicit filters, networks of axial positional encodings (arXiv 2309.13600, section 3).

    All sines share one vector of frequencies.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        width: Width of the networks.
        depth: Number of linear layers.
        position: Config of the positional encoding, which returns ``(size, dim)`` for every axis.
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
    """Hyena N-D's implicit filter: one network of the encodings of all axes, ``h[i, j] = MLP([z_i, z_j])``.

    Kernels have full rank. Arguments are those of :class:`AxialFilter`.
    """

    def _make_networks(self, axes: int, channels: int, width: int, depth: int) -> None:
        self.mlp = FilterMLP(axes * self.position.dim, width, channels, depth)

    def forward(self, kernel_size: Sequence[int], extend: bool = False) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``; for another size the encoding is resampled, or else continued."""
        axes = len(kernel_size)
        encodings = []
        for axis, encoding in enumerate(self.position(kernel_size, extend)):
            view = *(-1 if other == axis else 1 for other in range(axes)), self.position.dim
            encodings.append(encoding.view(view).expand(*kernel_size, -1))  # (*kernel_size, dim)
        return self.mlp(torch.cat(encodings, dim=-1), self.sine).movedim(-1, 0)

    def scale_(self, factor: Tensor) -> None:
        """Multiply the kernel of each channel by ``factor`` ``(C,)`` in place."""
        self.mlp.scale_(factor)


@MODELS.register_module()
class ProductFilter(AxialFilter):
    """Hyena N-D's product filter: one network per axis, ``h[i, j] = h1[i] h2[j]``.

    Kernels have rank 1. Arguments are those of :class:`AxialFilter`.
    """

    def _make_networks(self, axes: int, channels: int, width: int, depth: int) -> None:
        self.mlps = nn.ModuleList(FilterMLP(self.position.dim, width, channels, depth) for _ in range(axes))

    def forward(self, kernel_size: Sequence[int], extend: bool = False) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``; for another size the encoding is resampled, or else continued."""
        encodings = self.position(kernel_size, extend)  # (size, dim) per axis
        factors = [mlp(encoding, self.sine).T for mlp, encoding in zip(self.mlps, encodings)]  # (C, size)
        kernel = factors[0]
        for factor in factors[1:]:
            kernel = kernel[..., None] * factor.view(len(factor), *(1,) * (kernel.dim() - 1), -1)
        return kernel

    def scale_(self, factor: Tensor) -> None:
        """Multiply the kernel of each channel by ``factor`` ``(C,)`` in place, divided equally among the axes."""
        for mlp in cast(Iterable[FilterMLP], self.mlps):
            mlp.scale_(factor ** (1 / len(self.mlps)))


@MODELS.register_module()
class DirectFilter(nn.Module):
    """Explicit kernels: the taps are parameters, resampled for another size (arXiv 2309.13600, section 3).

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        centered: Whether displacement 0 is in the middle of the kernel instead of at its first tap.
    """

    def __init__(self, channels: int, kernel_size: Sequence[int], centered: bool = True) -> None:
        super().__init__()
        self.centered = centered
        self.kernel = nn.Parameter(torch.randn(channels, *kernel_size))

    def forward(self, kernel_size: Sequence[int], extend: bool = False) -> Tensor:
        """Return the kernel ``(C, *kernel_size)``; for another size it is resampled, or else zero-padded."""
        if not extend:
            return resample(self.kernel, kernel_size)
        padding: list[int] = []
        for old, new in zip(reversed(self.kernel.shape[1:]), reversed(kernel_size)):
            before = (new - old) // 2 if self.centered else 0
            padding += [before, new - old - before]
        return F.pad(self.kernel, padding)

    @torch.no_grad()
    def scale_(self, factor: Tensor) -> None:
        """Multiply the kernel of each channel by ``factor`` ``(C,)`` in place."""
        self.kernel.mul_(factor.view(-1, *(1,) * (self.kernel.dim() - 1)))
