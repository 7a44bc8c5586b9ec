"""The long convolution by discrete Fourier transforms as real matrix products: exact, exportable, compilable.

With the transform ``A`` of the first axis at frequencies ``0 .. N // 2`` and ``B`` of the second axis at all
frequencies, a feature map ``X`` has the spectrum ``A X B^T``; products of spectra are convolutions. For feature maps of
a few dozen pixels per side the matrices are small, and the products need neither padding nor a change of layout:
channels are the contiguous index throughout. All of it is differentiable and consists of standard operators.

A long sequence is transformed in two steps (Cooley and Tukey, 1965), since its matrix would grow with the square of the
length. With the length ``N = P Q``, sample ``n = Q p + q`` and frequency ``f = g + P h``::

    X[g, h] = sum_q exp(-2 pi i q h / Q) exp(-2 pi i g q / N) sum_p exp(-2 pi i p g / P) x[p, q]

which is the transform of a ``P x Q`` map with factors of modulus 1 between the two axes. Of a real sequence half of the
``g`` are enough. Matrices then have ``O(N)`` elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from mmhyena.ops.autograd import no_forward_mode
from mmhyena.ops.constants import constant
from mmhyena.ops.geometry import AxisGeometry, ConvCase, dft_length
from mmhyena.ops.mode import is_compiling, is_exporting
from mmhyena.ops.opaque import opaque_conv

__all__ = ['cost', 'dft_conv', 'dft_conv_prepared', 'dft_kernel', 'full_matrix', 'half_matrix', 'reason']

# Sequences whose transform has at least this length are transformed in two steps.
TWO_STEPS_FROM = 1024

# Elements of the largest matrix that is allowed, 64 MiB in float32. Matrices grow with the square of an axis' pixels.
MAX_ELEMENTS = 2**24

# Nanoseconds per multiply-add and per call on one core of a CPU (benchmarks/backends.py): forward with a prepared
# kernel, and forward and backward without one.
PREPARED_NS = 0.05, 400.0
TRAINING_NS = 0.12, 6500.0


def reason(case: ConvCase) -> str | None:
    """Return why this backend cannot serve ``case``, or None if it can."""
    for position, (length, size) in enumerate(_plan(*_sizes(case))):
        if (length * size if position == 0 else 4 * length * size) > MAX_ELEMENTS:
            return f'its matrices of {length} x {size} would be too large'
    return None


def cost(case: ConvCase) -> float:
    """Return the estimated nanoseconds per image and channel, of forward and backward if the kernel is no constant."""
    lengths, spatial = _sizes(case)
    if case.device.type != 'cpu' and _factors(lengths) is not None:
        return math.inf  # not measured: taken by name alone
    products = _products(_plan(lengths, spatial))
    if not case.is_constant:  # the kernel's transform, shared by the batch
        taps = [axis.right + axis.left + 1 for axis in case.axes]
        products += _products(_plan(lengths, taps)) / 2 / max(case.batch, 1)
    if case.device.type == 'cpu':
        per_product, per_call = PREPARED_NS if case.is_constant else TRAINING_NS
        return per_product * products + per_call
    return (1 if case.is_constant else 3) * products / 2e4  # 20 T multiply-adds per second without tensor cores


def _sizes(case: ConvCase) -> tuple[list[int], tuple[int, ...]]:
    return [dft_length(axis, size) for axis, size in zip(case.axes, case.spatial)], case.spatial


def _factors(lengths: Sequence[int]) -> tuple[int, int] | None:
    """Return ``P`` and ``Q`` of a long sequence, ``P Q`` at least its length; None where one step is taken.

    ``P`` is about ``4 Q``, as the second step has complex input and twice the matrix.
    """
    if len(lengths) != 1 or lengths[0] < TWO_STEPS_FROM:
        return None
    second = math.isqrt(lengths[0]) // 2
    return math.ceil(lengths[0] / second), second


def _plan(lengths: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return length and size of every transform, one per axis or two of a long sequence."""
    factors = _factors(lengths)
    if factors is None:
        return list(zip(lengths, sizes))
    first, second = factors
    return [(first, math.ceil(sizes[0] / second)), (second, second)]


def _products(plan: Sequence[tuple[int, int]]) -> float:
    """Return the multiply-adds of all transforms and their inverses, with half of the frequencies on the first axis."""
    shape, total = [size for _, size in plan], 0.0
    for position, (length, size) in enumerate(plan):
        others = prod(shape) // shape[position]
        total += 2 * others * length * size * (1 if position == 0 else 4)
        shape[position] = length if position else length // 2 + 1
    return total


def _angles(frequencies: int, size: int, length: int, first: int) -> np.ndarray:
    product = np.arange(frequencies)[:, None] * np.arange(first, first + size)
    return (product % length) * (2 * math.pi / length)


@constant
def half_matrix(size: int, length: int, first: int, inverse: bool) -> np.ndarray:
    """Return the real transform of samples at ``first .. first + size`` to frequencies ``0 .. length // 2``.

    Returns:
        ``(F * 2, size)`` with alternating real and imaginary rows, or the inverse, ``(size, F * 2)``.
    """
    angle = _angles(length // 2 + 1, size, length, first)
    forward = np.stack([np.cos(angle), -np.sin(angle)], axis=1)  # (F, 2, size)
    if inverse:
        weight = np.full((length // 2 + 1, 1, 1), 2.0 / length)
        weight[0] = 1.0 / length
        if length % 2 == 0:
            weight[-1] = 1.0 / length
        return (forward * weight).reshape(-1, size).T
    return forward.reshape(-1, size)


@constant
def full_matrix(size: int, length: int, first: int, inverse: bool) -> np.ndarray:
    """Return the complex transform as a real matrix on stacked parts, ``(2 * length, 2 * size)``, or its inverse."""
    angle = _angles(length, size, length, first)
    cos, sin = np.cos(angle), np.sin(angle)
    forward = np.block([[cos, sin], [-sin, cos]])
    return forward.T / length if inverse else forward


@constant
def twiddle(first: int, second: int) -> np.ndarray:
    """Return cosine and sine of ``2 pi g q / (P Q)``, ``(2, P // 2 + 1, Q, 1)``."""
    angle = _angles(first // 2 + 1, second, first * second, 0)
    return np.stack([np.cos(angle), np.sin(angle)])[..., None]


def _turn(x: Tensor, factors: tuple[int, int], inverse: bool) -> Tensor:
    """Multiply ``x`` ``(B, F, 2, Q, C)`` by the factors between the two steps, or by their conjugates."""
    cos, sin = twiddle(*factors, device=x.device, dtype=x.dtype).unbind(0)
    real, imaginary = x.unbind(2)
    sin = -sin if inverse else sin
    return torch.stack([real * cos + imaginary * sin, imaginary * cos - real * sin], dim=2)


def _transform(x: Tensor, lengths: Sequence[int], firsts: Sequence[int]) -> Tensor:
    """Return the spectrum of ``x`` ``(B, *spatial, C)``, its parts on the third axis.

    Returns:
        ``(B, F, 2, *lengths[1:], C)``, or ``(B, F, 2, Q, C)`` of a long sequence.
    """
    factors = _factors(lengths)
    if factors is not None:
        x, lengths, firsts = _fold(x, factors, -firsts[0]), factors, (0, 0)
    batch, size, *rest = x.shape
    matrix = half_matrix(size, lengths[0], firsts[0], False, device=x.device, dtype=x.dtype)
    x = (matrix @ x.reshape(batch, size, prod(rest))).view(batch, lengths[0] // 2 + 1, 2, *rest)
    if factors is not None:
        x = _turn(x, factors, False)
    for axis, (length, first) in enumerate(zip(lengths[1:], firsts[1:])):
        matrix = full_matrix(x.shape[3 + axis], length, first, False, device=x.device, dtype=x.dtype)
        x = _apply(matrix, x, axis, length)
    return x


def _fold(x: Tensor, factors: tuple[int, int], left: int) -> Tensor:
    """Return the sequence ``x`` ``(B, L, C)``, ``left`` of whose samples lie before 0, as ``(B, P, Q, C)``."""
    first, second = factors
    if left:  # at the end of the period
        x = torch.cat([pad(x[:, left:], (0, 0, 0, first * second - x.shape[1])), x[:, :left]], dim=1)
    x = pad(x, (0, 0, 0, -x.shape[1] % second))
    return x.unflatten(1, (-1, second))


def _apply(matrix: Tensor, x: Tensor, axis: int, size: int) -> Tensor:
    """Apply a matrix on stacked parts along one axis of ``x`` ``(B, F, 2, *sizes, C)``."""
    dim = 3 + axis
    stacked = x.movedim(2, dim - 1)  # (B, F, .., 2, n, ..)
    shape = stacked.shape
    y = matrix @ stacked.reshape(*shape[: dim - 1], 2 * shape[dim], prod(shape[dim + 1 :]))
    return y.view(*shape[:dim], size, *shape[dim + 1 :]).movedim(dim - 1, 2)


def _invert(x: Tensor, lengths: Sequence[int], firsts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Invert :func:`_transform` at the pixels ``firsts .. firsts + sizes``."""
    factors = _factors(lengths)
    if factors is not None:
        return _invert_sequence(x, factors, -firsts[0], sizes[0])
    for axis in reversed(range(len(sizes) - 1)):
        size, length, first = sizes[axis + 1], lengths[axis + 1], firsts[axis + 1]
        x = _apply(full_matrix(size, length, first, True, device=x.device, dtype=x.dtype), x, axis, size)
    matrix = half_matrix(sizes[0], lengths[0], firsts[0], True, device=x.device, dtype=x.dtype)
    shape = x.shape  # (B, F, 2, *sizes[1:], C)
    return (matrix @ x.reshape(shape[0], shape[1] * 2, prod(shape[3:]))).view(shape[0], sizes[0], *shape[3:])


def _invert_sequence(x: Tensor, factors: tuple[int, int], left: int, size: int) -> Tensor:
    """Return ``size`` samples ``(B, size, C)``, ``left`` of them before 0, of a spectrum made in two steps."""
    first, second = factors
    x = _apply(full_matrix(second, second, 0, True, device=x.device, dtype=x.dtype), x, 0, second)
    rows = first if left else math.ceil(size / second)
    matrix = half_matrix(rows, first, 0, True, device=x.device, dtype=x.dtype)
    x = matrix @ _turn(x, factors, True).reshape(x.shape[0], matrix.shape[1], second * x.shape[-1])
    x = x.view(x.shape[0], rows * second, -1)
    return torch.cat([x[:, rows * second - left :], x[:, : size - left]], dim=1) if left else x[:, :size]


def dft_kernel(k: Tensor, axes: Sequence[AxisGeometry], spatial: Sequence[int]) -> Tensor:
    """Return the spectrum of a kernel ``(C, *kernel)`` cropped to ``axes``, of the form of :func:`_transform`."""
    lengths = [dft_length(axis, size) for axis, size in zip(axes, spatial)]
    firsts = [-axis.left for axis in axes]
    return _transform(k.movedim(0, -1)[None], lengths, firsts)[0].contiguous()


def dft_conv_prepared(u: Tensor, spectrum: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`dft_kernel`; same shape, channels last."""
    spatial = u.shape[2:]
    lengths = [dft_length(axis, size) for axis, size in zip(axes, spatial)]
    origin = [0] * len(lengths)
    x = _transform(u.movedim(1, -1), lengths, origin)  # (B, F, 2, .., C)
    (a, b), (c, d) = x.unbind(2), spectrum.unbind(1)
    product = torch.stack([a * c - b * d, a * d + b * c], dim=2)
    return _invert(product, lengths, origin, spatial).movedim(-1, 1)


def dft_conv(u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)`` cropped to ``axes``; same shape, channels last.

    Saves the real inputs for backward and no spectrum, except in a graph that is exported.
    """
    if is_exporting():
        return dft_conv_prepared(u, dft_kernel(k, axes, u.shape[2:]), axes)
    if is_compiling() and _compiled_conv is not None:
        return _compiled_conv(u, k, [axis.left for axis in axes])
    return _DFTConv.apply(u, k, tuple(axes))


def _backward(grad: Tensor, u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> tuple[Tensor, Tensor]:
    spatial = grad.shape[2:]
    lengths = [dft_length(axis, size) for axis, size in zip(axes, spatial)]
    origin, firsts = [0] * len(axes), [-axis.left for axis in axes]
    a, b = _transform(grad.movedim(1, -1), lengths, origin).unbind(2)  # (B, F, .., C)
    c, d = dft_kernel(k, axes, spatial).unbind(1)
    grad_u = _invert(torch.stack([a * c + b * d, b * c - a * d], dim=2), lengths, origin, spatial)
    c, d = _transform(u.movedim(1, -1), lengths, origin).unbind(2)
    cross = torch.stack([(a * c + b * d).sum(0), (b * c - a * d).sum(0)], dim=1)[None]
    grad_k = _invert(cross, lengths, firsts, k.shape[1:])[0]
    return grad_u.movedim(-1, 1), grad_k.movedim(-1, 0)


class _DFTConv(torch.autograd.Function):
    """Recomputes the spectra in backward, which is differentiable again and works under ``torch.func``."""

    generate_vmap_rule = True
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    def forward(u: Tensor, k: Tensor, axes: tuple[AxisGeometry, ...]) -> Tensor:
        return dft_conv_prepared(u, dft_kernel(k, axes, u.shape[2:]), axes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        u, k, ctx.axes = inputs
        ctx.save_for_backward(u, k)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        u, k = ctx.saved_tensors
        return (*_backward(grad, u, k, ctx.axes), None)


def _axes(k: Tensor, left: Sequence[int]) -> list[AxisGeometry]:
    return [AxisGeometry(0, taps, lt, taps - 1 - lt) for taps, lt in zip(k.shape[1:], left)]


def _forward_contiguous(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
    axes = _axes(k, left)
    return dft_conv_prepared(u, dft_kernel(k, axes, u.shape[2:]), axes).contiguous()


def _backward_contiguous(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
    grad_u, grad_k = _backward(grad, u, k, _axes(k, left))
    return grad_u.contiguous(), grad_k.contiguous()


_compiled_conv = opaque_conv('dft_conv', _forward_contiguous, _backward_contiguous, lambda u: u.new_empty(u.shape))
