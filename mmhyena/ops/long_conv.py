"""The long convolution that every Hyena-type mixer is built on, and its form with a kernel prepared beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmhyena.ops.backends import choose_backend
from mmhyena.ops.dft import dft_conv, dft_conv_prepared, dft_kernel
from mmhyena.ops.direct import direct_conv, direct_weight, pack_direct_weight
from mmhyena.ops.fft import conv_with_spectrum, fft_conv, kernel_spectrum
from mmhyena.ops.geometry import AxisGeometry, geometry

__all__ = ['PreparedKernel', 'long_conv', 'pack_kernel', 'prepare_kernel', 'prepared_long_conv']


class PreparedKernel(NamedTuple):
    """A kernel made ready for maps of one size, see :func:`prepare_kernel`.

    Attributes:
        spatial: The map size that it serves.
        axes: How the kernel lies on each axis.
        backend: What :attr:`spectrum` is made for.
        kernel: Kernel and skip together, cropped to the taps that can touch the map, ``(C, *kernel)``.
        spectrum: What the backend makes of them: their transform, or the weight of a convolution.
    """

    spatial: tuple[int, ...]
    axes: tuple[AxisGeometry, ...]
    backend: str
    kernel: Tensor
    spectrum: Tensor


def _check(u: Tensor, k: Tensor, skip: Tensor | None) -> None:
    axes = u.dim() - 2
    if not 1 <= axes <= 3:
        raise ValueError(f'long_conv takes a map (B, C, *spatial) with 1 to 3 spatial axes, got shape {tuple(u.shape)}')
    if k.dim() != axes + 1 or k.shape[0] != u.shape[1]:
        raise ValueError(
            f'long_conv needs one kernel a channel, (C, *kernel) with C={u.shape[1]} and {axes} spatial axes, '
            f'got shape {tuple(k.shape)}'
        )
    if skip is not None and skip.shape != (u.shape[1],):
        raise ValueError(f'skip must have shape ({u.shape[1]},), got {tuple(skip.shape)}')
    if 0 in k.shape[1:] or 0 in u.shape[2:]:
        raise ValueError(f'map {tuple(u.shape[2:])} and kernel {tuple(k.shape[1:])} need at least one element an axis')
    if not u.is_floating_point() or not k.is_floating_point():
        raise TypeError(f'long_conv takes floating point tensors, got {u.dtype} and {k.dtype}')


def _compute_dtype(u: Tensor) -> torch.dtype:
    return torch.float64 if u.dtype == torch.float64 else torch.float32


def _crop(k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    return k[(slice(None), *(slice(axis.start, axis.stop) for axis in axes))]


def _fold_skip(k: Tensor, skip: Tensor | None, axes: Sequence[AxisGeometry]) -> Tensor:
    """Add ``skip`` to the tap of displacement 0, which spares a pass over the map."""
    if skip is None:
        return k
    centre = torch.zeros(k.shape[1:], dtype=k.dtype, device=k.device)
    centre[tuple(axis.left for axis in axes)] = 1
    return k + skip.to(k.dtype).view(-1, *(1,) * len(axes)) * centre


def _convolve(u: Tensor, k: Tensor, axes: Sequence[AxisGeometry], backend: str) -> Tensor:
    if backend == 'direct':
        return direct_conv(u, direct_weight(k, axes), axes)
    if backend == 'dft':
        return dft_conv(u, k, axes)
    return fft_conv(u, k, [axis.left for axis in axes])


def long_conv(
    u: Tensor, k: Tensor, skip: Tensor | None = None, *, causal: bool = False, backend: str | None = None
) -> Tensor:
    """Depthwise convolution of any map with a kernel of any size, as ``naive_long_conv`` defines it.

    ``y[n] = sum_j k[j] u[n + c - j] + skip u[n]`` on every axis at once, with zeros outside the map and the centre
    ``c = K // 2``, or ``c = 0`` if causal (HyenaPixel, arXiv 2402.19305, section 3; Hyena N-D, arXiv 2309.13600).
    Works in float32 (float64 for a float64 map) also inside autocast, since half-precision FFTs overflow.

    Args:
        u: Map ``(B, C, *spatial)``, one to three spatial axes of any size.
        k: Kernel ``(C, *kernel)``, shorter or longer than the map, odd or even.
        skip: Weight of the input itself, ``(C,)``.
        causal: Whether an output sees only inputs at or before it on every axis.
        backend: ``'fft'``, ``'dft'`` (transforms as matrix products) or ``'direct'`` (the sum itself); None for what
            :func:`~mmhyena.ops.backends.choose_backend` says.

    Returns:
        Map of the shape and dtype of ``u``.

    Raises:
        ValueError: If the shapes do not fit together, or there is no such backend.
        TypeError: If a tensor is not of floating point type.
    """
    _check(u, k, skip)
    backend = choose_backend(u.shape[2:], u.device, prepared=False, override=backend)
    with torch.autocast(device_type=u.device.type, enabled=False):
        dtype = _compute_dtype(u)
        axes = geometry(u.shape[2:], k.shape[1:], causal)
        kernel = _fold_skip(_crop(k.to(dtype), axes), skip, axes)
        y = _convolve(u.to(dtype), kernel, axes, backend)
    return y.to(u.dtype)


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
        dtype: float32 or float64.
        backend: As in :func:`long_conv`.
    """
    spatial = tuple(spatial)
    backend = choose_backend(spatial, k.device, prepared=True, override=backend)
    with torch.no_grad(), torch.autocast(device_type=k.device.type, enabled=False):
        axes = geometry(spatial, k.shape[1:], causal)
        kernel = _fold_skip(_crop(k.to(dtype), axes), skip, axes).contiguous()
        if backend == 'fft':
            spectrum = kernel_spectrum(kernel, [axis.fft_length for axis in axes])
        elif backend == 'dft':
            spectrum = dft_kernel(kernel, axes, spatial).contiguous()
        else:
            spectrum = direct_weight(kernel, axes).contiguous()
    return PreparedKernel(spatial, axes, backend, kernel, spectrum)


def pack_kernel(kernel: PreparedKernel) -> PreparedKernel:
    """Return ``kernel`` with its weight in oneDNN's layout where that is faster.

    Such a kernel can be neither copied nor pickled, traced nor compiled.
    """
    if kernel.backend != 'direct':
        return kernel
    return kernel._replace(spectrum=pack_direct_weight(kernel.spectrum, kernel.axes, kernel.spatial))


def prepared_long_conv(u: Tensor, kernel: PreparedKernel) -> Tensor:
    """Return :func:`long_conv` of ``u`` ``(B, C, *spatial)`` with a prepared kernel; not differentiable in the kernel.

    Raises:
        ValueError: If the kernel was prepared for maps of another size.
    """
    if tuple(u.shape[2:]) != kernel.spatial:
        raise ValueError(f'kernel was prepared for maps of {kernel.spatial}, got {tuple(u.shape[2:])}')
    axes = kernel.axes
    with torch.autocast(device_type=u.device.type, enabled=False):
        x = u.to(kernel.kernel.dtype)
        if kernel.backend == 'dft':
            y = dft_conv_prepared(x, kernel.spectrum, axes)
        elif torch.is_grad_enabled() and u.requires_grad:  # the direct backend's backward is slow
            y = _convolve(x, kernel.kernel, axes, 'fft')
        elif kernel.backend == 'direct':
            y = direct_conv(x, kernel.spectrum, axes)
        else:
            y = conv_with_spectrum(x, kernel.spectrum, [axis.fft_length for axis in axes], [axis.left for axis in axes])
    return y.to(u.dtype)
