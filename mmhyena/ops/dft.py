"""The long convolution by discrete Fourier transforms written as real matrix products: exact, exportable, compilable.

On maps of a few dozen pixels a side the matrices are small, and the products need neither padding nor a change of
layout: channels are the free, contiguous index throughout. Everything is differentiable and in plain operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from math import prod

import torch
from torch import Tensor

from mmhyena.ops.geometry import AxisGeometry
from mmhyena.ops.mode import is_compiling, is_exporting

__all__ = ['dft_conv', 'dft_conv_prepared', 'dft_kernel', 'dft_length']


def dft_length(axis: AxisGeometry, size: int) -> int:
    """Return the transform length, which need not be a fast one."""
    return size + max(axis.left, axis.right)


def _kept(function: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """Keep the results of ``function``, but for those made while a graph is recorded, which may be stand-ins."""
    kept = lru_cache(maxsize=256)(function)

    @wraps(function)
    def matrices(*args: int) -> tuple[Tensor, Tensor]:
        return (function if is_compiling() or is_exporting() else kept)(*args)

    return matrices


@_kept
def _half_matrices(size: int, length: int, first: int) -> tuple[Tensor, Tensor]:
    """Real transform of samples at ``first .. first + size`` to frequencies ``0 .. length // 2``, and its inverse.

    Returns:
        ``(F * 2, size)`` with real and imaginary rows in turn, and ``(size, F * 2)``, both float64.
    """
    angle = _angles(length // 2 + 1, size, length, first)
    forward = torch.stack([angle.cos(), -angle.sin()], dim=1)  # (F, 2, size)
    weight = torch.full((length // 2 + 1, 1, 1), 2.0 / length, dtype=torch.float64)
    weight[0] = 1.0 / length
    if length % 2 == 0:
        weight[-1] = 1.0 / length
    return forward.flatten(0, 1), (forward * weight).flatten(0, 1).t().contiguous()


@_kept
def _full_matrices(size: int, length: int, first: int) -> tuple[Tensor, Tensor]:
    """Complex transform as a real matrix on stacked parts, ``(2 * length, 2 * size)``, and its inverse."""
    angle = _angles(length, size, length, first)
    cos, sin = angle.cos(), angle.sin()
    forward = torch.cat([torch.cat([cos, sin], dim=1), torch.cat([-sin, cos], dim=1)])
    return forward, forward.t().contiguous() / length


def _angles(frequencies: int, size: int, length: int, first: int) -> Tensor:
    pixels = torch.arange(first, first + size, device='cpu')
    product = torch.arange(frequencies, device='cpu')[:, None] * pixels
    return product.remainder(length).double() * (2 * math.pi / length)


def _like(matrices: tuple[Tensor, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    return matrices[0].to(x), matrices[1].to(x)


def _transform(x: Tensor, lengths: Sequence[int], firsts: Sequence[int]) -> Tensor:
    """Transform ``x`` ``(B, *spatial, C)``; spectrum ``(B, F, 2, *lengths[1:], C)`` with parts on the third axis."""
    batch, size, *rest = x.shape
    matrix, _ = _like(_half_matrices(size, lengths[0], firsts[0]), x)
    x = (matrix @ x.reshape(batch, size, prod(rest))).view(batch, lengths[0] // 2 + 1, 2, *rest)
    for axis, (length, first) in enumerate(zip(lengths[1:], firsts[1:])):
        matrix, _ = _like(_full_matrices(x.shape[3 + axis], length, first), x)
        x = _apply(matrix, x, axis, length)
    return x


def _apply(matrix: Tensor, x: Tensor, axis: int, size: int) -> Tensor:
    """Apply a matrix on stacked parts to the parts and one axis of ``x`` ``(B, F, 2, *sizes, C)``."""
    dim = 3 + axis
    stacked = x.movedim(2, dim - 1)  # (B, F, .., 2, n, ..)
    shape = stacked.shape
    y = matrix @ stacked.reshape(*shape[: dim - 1], 2 * shape[dim], prod(shape[dim + 1 :]))
    return y.view(*shape[:dim], size, *shape[dim + 1 :]).movedim(dim - 1, 2)


def _invert(x: Tensor, lengths: Sequence[int], firsts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Invert :func:`_transform` at the pixels ``firsts .. firsts + sizes``."""
    for axis in reversed(range(len(sizes) - 1)):
        _, matrix = _like(_full_matrices(sizes[axis + 1], lengths[axis + 1], firsts[axis + 1]), x)
        x = _apply(matrix, x, axis, sizes[axis + 1])
    _, matrix = _like(_half_matrices(sizes[0], lengths[0], firsts[0]), x)
    shape = x.shape  # (B, F, 2, *sizes[1:], C)
    return (matrix @ x.reshape(shape[0], shape[1] * 2, prod(shape[3:]))).view(shape[0], sizes[0], *shape[3:])


def dft_kernel(k: Tensor, axes: Sequence[AxisGeometry], spatial: Sequence[int]) -> Tensor:
    """Return the spectrum ``(F, 2, *lengths[1:], C)`` of a kernel ``(C, *kernel)`` cropped to ``axes``."""
    lengths = [dft_length(axis, size) for axis, size in zip(axes, spatial)]
    firsts = [-axis.left for axis in axes]
    return _transform(k.movedim(0, -1)[None], lengths, firsts)[0]


def dft_conv_prepared(u: Tensor, spectrum: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`dft_kernel`; same shape, channels last."""
    spatial = u.shape[2:]
    lengths = [dft_length(axis, size) for axis, size in zip(axes, spatial)]
    origin = [0] * len(lengths)
    x = _transform(u.movedim(1, -1), lengths, origin)  # (B, F, 2, *lengths[1:], C)
    (a, b), (c, d) = x.unbind(2), spectrum.unbind(1)
    product = torch.stack([a * c - b * d, a * d + b * c], dim=2)
    return _invert(product, lengths, origin, spatial).movedim(-1, 1)


def dft_conv(u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)`` cropped to ``axes``; same shape, channels last.

    Keeps the real inputs for the backward and no spectrum, except in a graph that is compiled or exported.
    """
    if is_compiling() or is_exporting():
        return dft_conv_prepared(u, dft_kernel(k, axes, u.shape[2:]), axes)
    return _DFTConv.apply(u, k, axes)


class _DFTConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
        ctx.save_for_backward(u, k)
        ctx.axes = axes
        return dft_conv_prepared(u, dft_kernel(k, axes, u.shape[2:]), axes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (u, k), axes, spatial = ctx.saved_tensors, ctx.axes, grad.shape[2:]
        lengths = [dft_length(axis, size) for axis, size in zip(axes, spatial)]
        origin, firsts = [0] * len(axes), [-axis.left for axis in axes]
        a, b = _transform(grad.movedim(1, -1), lengths, origin).unbind(2)  # (B, F, *lengths[1:], C)
        c, d = dft_kernel(k, axes, spatial).unbind(1)
        grad_u = _invert(torch.stack([a * c + b * d, b * c - a * d], dim=2), lengths, origin, spatial)
        c, d = _transform(u.movedim(1, -1), lengths, origin).unbind(2)
        cross = torch.stack([(a * c + b * d).sum(0), (b * c - a * d).sum(0)], dim=1)[None]
        grad_k = _invert(cross, lengths, firsts, k.shape[1:])[0]
        return grad_u.movedim(-1, 1), grad_k.movedim(-1, 0), None
