"""The gated long convolution that every Hyena-type mixer is built on, by the cheapest backend that can serve it.

On every axis at once, with zeros outside the feature map and the center ``c = K // 2``, or ``c = 0`` if causal::

    y[n] = post[n] * (sum_j k[j] x[n + c - j] + skip x[n]),    x = pre * u

A kernel of ``K`` taps reaches ``min(c, N - 1)`` pixels to one side and ``min(K - 1 - c, N - 1)`` to the other on an
axis of ``N`` pixels; the taps beyond are cropped first. Skip is added to the tap of displacement 0, which spares a pass
over the map::

    u --(* pre)--> crop, fold skip, transform --(* spectrum of k)--> invert, crop --(* post)--> y

Backends (:mod:`mmhyena.ops.backends`) differ in the transform alone. All but those that keep the map's type compute in
float32, also inside autocast, since half-precision FFTs overflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmhyena.ops.backends import BACKENDS, choose_backend
from mmhyena.ops.geometry import AxisGeometry, ConvCase, geometry
from mmhyena.ops.mode import is_exporting, no_autocast

__all__ = ['PreparedKernel', 'choose_prepared_backend', 'long_conv', 'prepare_kernel', 'prepared_long_conv']


class PreparedKernel(NamedTuple):
    """A kernel transformed for maps of one size, see :func:`prepare_kernel`.

    Attributes:
        spatial: The map size that it serves.
        axes: How the kernel lies on each axis.
        backend: Which backend it is made for.
        data: What the backend made of kernel and skip: a spectrum, or the weight of a convolution.
    """

    spatial: tuple[int, ...]
    axes: tuple[AxisGeometry, ...]
    backend: str
    data: Tensor


def _check(u: Tensor, k: Tensor, skip: Tensor | None, gates: dict[str, Tensor | None]) -> None:
    axes = u.dim() - 2
    if not 1 <= axes <= 3:
        raise ValueError(f'long_conv takes a map (B, C, *spatial) with 1 to 3 spatial axes, got shape {tuple(u.shape)}')
    if k.dim() != axes + 1 or k.shape[0] != u.shape[1]:
        raise ValueError(
            f'long_conv needs one kernel per channel, (C, *kernel) with C={u.shape[1]} and {axes} spatial axes, '
            f'got shape {tuple(k.shape)}'
        )
    if skip is not None and skip.shape != (u.shape[1],):
        raise ValueError(f'skip must have shape ({u.shape[1]},), got {tuple(skip.shape)}')
    if 0 in k.shape[1:] or 0 in u.shape[2:]:
        raise ValueError(f'map {tuple(u.shape[2:])} and kernel {tuple(k.shape[1:])} need at least one element per axis')
    if not u.is_floating_point() or not k.is_floating_point():
        raise TypeError(f'long_conv takes floating point tensors, got {u.dtype} and {k.dtype}')
    _check_gates(u, gates)


def _check_gates(u: Tensor, gates: dict[str, Tensor | None]) -> None:
    for name, gate in gates.items():
        if gate is not None and gate.shape != u.shape:
            raise ValueError(f'{name} must have the shape {tuple(u.shape)} of the map, got {tuple(gate.shape)}')


def _compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _crop(k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    return k[(slice(None), *(slice(axis.start, axis.stop) for axis in axes))]


def _fold_skip(k: Tensor, skip: Tensor | None, axes: Sequence[AxisGeometry]) -> Tensor:
    """Add ``skip`` to the tap of displacement 0."""
    if skip is None:
        return k
    center = torch.zeros(k.shape[1:], dtype=k.dtype, device=k.device)
    center[tuple(axis.left for axis in axes)] = 1
    return k + skip.to(k.dtype).view(-1, *(1,) * len(axes)) * center


def _case(u: Tensor, axes: tuple[AxisGeometry, ...], is_constant: bool) -> ConvCase:
    channels, *spatial = map(int, u.shape[1:])  # torch.jit.trace makes tensors of sizes
    batch = 1 if is_exporting() else int(u.shape[0])  # int() would fix the batch size of an exported graph
    return ConvCase(batch, channels, tuple(spatial), axes, u.dtype, u.device, is_constant)


def _run(
    name: str,
    is_prepared: bool,
    u: Tensor,
    kernel: Tensor,
    axes: tuple[AxisGeometry, ...],
    pre: Tensor | None,
    post: Tensor | None,
) -> Tensor:
    """Run a backend, with the gates and the types that it does not take care of itself."""
    backend = BACKENDS[name]
    conv = backend.conv_prepared if is_prepared else backend.conv
    if backend.fuses_gates:
        with no_autocast(u.device):
            return conv(u, kernel, axes, pre, post)
    x = u if pre is None else pre * u
    with no_autocast(u.device):
        y = conv(x if backend.keeps_dtype else x.to(_compute_dtype(u.dtype)), kernel, axes).to(u.dtype)
    return y if post is None else post * y


def long_conv(
    u: Tensor,
    k: Tensor,
    skip: Tensor | None = None,
    *,
    pre: Tensor | None = None,
    post: Tensor | None = None,
    causal: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Return ``post * (k * (pre * u) + skip (pre * u))``, a depthwise convolution of any map and kernel size.

    :func:`~mmhyena.ops.naive.naive_long_conv` is the reference implementation (HyenaPixel, arXiv 2402.19305, section 3;
    Hyena N-D, arXiv 2309.13600).

    Args:
        u: Feature map ``(B, C, *spatial)``, one to three spatial axes of any size.
        k: Kernel ``(C, *kernel)``, shorter or longer than the map, odd or even.
        skip: Weight of the convolution's input itself, ``(C,)``.
        pre: Gate before the convolution, shape of ``u``, or None.
        post: Gate after it, shape of ``u``, or None.
        causal: Whether an output sees only inputs at or before it on every axis.
        backend: Name of one of :data:`~mmhyena.ops.backends.BACKENDS`, which is taken if it can serve the case; None
            for the cheapest, see :func:`~mmhyena.ops.backends.choose_backend`.

    Returns:
        Feature map of the shape and dtype of ``u``.

    Raises:
        ValueError: If the shapes do not fit together, or there is no such backend.
        TypeError: If a tensor is not of floating point type.
    """
    _check(u, k, skip, dict(pre=pre, post=post))
    axes = geometry(u.shape[2:], k.shape[1:], causal)
    name = choose_backend(_case(u, axes, False), backend)
    with no_autocast(u.device):
        kernel = _fold_skip(_crop(k.to(_compute_dtype(u.dtype)), axes), skip, axes)
    return _run(name, False, u, kernel, axes, pre, post)


def choose_prepared_backend(
    u: Tensor, kernel_size: Sequence[int], causal: bool = False, backend: str | None = None
) -> str:
    """Return the backend that :func:`prepare_kernel` would serve ``u`` ``(B, C, *spatial)`` with."""
    return choose_backend(_case(u, geometry(u.shape[2:], kernel_size, causal), True), backend)


def prepare_kernel(
    k: Tensor,
    skip: Tensor | None,
    spatial: Sequence[int],
    *,
    causal: bool = False,
    dtype: torch.dtype = torch.float32,
    backend: str | None = None,
) -> PreparedKernel:
    """Transform a kernel once for many maps of size ``spatial``; not differentiable.

    Args:
        k: Kernel ``(C, *kernel)``.
        skip: Weight of the input itself, ``(C,)``, or None.
        spatial: Size of the maps to come.
        causal: As in :func:`long_conv`.
        dtype: Type of the maps to come; the kernel is float64 for float64 and float32 for all others.
        backend: As in :func:`long_conv`.
    """
    spatial = tuple(map(int, spatial))
    axes = geometry(spatial, k.shape[1:], causal)
    case = ConvCase(1, k.shape[0], spatial, axes, dtype, k.device, True)
    name = choose_backend(case, backend)
    with torch.no_grad(), no_autocast(k.device):
        kernel = _crop(k, axes).to(_compute_dtype(dtype), copy=True, memory_format=torch.contiguous_format)
        if skip is not None:
            center = kernel  # the taps of displacement 0, (C,)
            for axis in axes:
                center = center.select(1, axis.left)
            center += skip.to(kernel.dtype)
        return PreparedKernel(spatial, axes, name, BACKENDS[name].kernel(kernel, axes, spatial))


def prepared_long_conv(
    u: Tensor, kernel: PreparedKernel, *, pre: Tensor | None = None, post: Tensor | None = None
) -> Tensor:
    """Return :func:`long_conv` of ``u`` ``(B, C, *spatial)`` with a prepared kernel; not differentiable.

    Raises:
        ValueError: If the kernel was prepared for maps of another size, or a gate has another shape than ``u``.
    """
    if tuple(u.shape[2:]) != kernel.spatial:
        raise ValueError(f'kernel was prepared for maps of {kernel.spatial}, got {tuple(u.shape[2:])}')
    _check_gates(u, dict(pre=pre, post=post))
    return _run(kernel.backend, True, u, kernel.data, kernel.axes, pre, post)
