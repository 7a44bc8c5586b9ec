"""The long convolution by NVIDIA's subquadratic-ops-torch, where the user has installed it.

The package has a proprietary license: it is neither required nor distributed here. It is imported when a CUDA map asks
for it for the first time, and its two operators are used only if a small convolution shows that they follow the
convention that this file is written for:

- ``fused_fft_conv2d(x, k, fft_size=T)`` in float32, float16 or bfloat16: square tile ``T`` of 8 to 128, maps of at most
  ``T / 2`` per side, output cropped at ``T / 2``, so the kernel is left-padded to have its center there;
- ``fft_conv2d(x, k)`` in float32, kernels of at most twice the next power of two of the map, cropped at ``K // 2``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhyena.ops import fft
from mmhyena.ops.geometry import AxisGeometry, ConvCase, geometry
from mmhyena.ops.mode import in_functorch, is_compiling, is_exporting

__all__ = ['cost', 'reason', 'subq_conv', 'subq_conv_prepared', 'subq_kernel']

PACKAGE = 'subquadratic_ops_torch'
TILES = (8, 16, 32, 64, 128)

# Times faster than torch.fft, forward and backward, by pixels per side: the package's authors on an H100 in bfloat16.
PUBLISHED_SPEEDUP = {16: 1.9, 32: 4.4, 64: 4.9}


def reason(case: ConvCase) -> str | None:
    """Return why this backend cannot serve ``case``, or None if it can."""
    if is_compiling() or is_exporting() or in_functorch():
        return 'the graph is being compiled, exported or transformed by torch.func'
    if case.device.type != _device_type():
        return 'it needs a CUDA device'
    if len(case.spatial) != 2 or case.batch == 0:
        return 'it takes non-empty maps (B, C, H, W)'
    if case.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f'it does not compute in {case.dtype}'
    return _package_reason(case.device)


def cost(case: ConvCase) -> float:
    """Return the estimated nanoseconds per image and channel."""
    if _tile(case.axes, case.spatial, case.device) is None:
        return fft.cost(case) / 1.5
    return fft.cost(case) / next(gain for side, gain in PUBLISHED_SPEEDUP.items() if max(case.spatial) <= side)


def subq_kernel(k: Tensor, axes: Sequence[AxisGeometry], spatial: Sequence[int]) -> Tensor:
    """Return a kernel ``(C, *kernel)`` cropped to ``axes``, padded as the package wants it."""
    tile = _tile(axes, spatial, k.device)
    padding = []
    for axis in reversed(axes):
        reach = max(axis.left, axis.right)
        padding += [reach - axis.left, reach - axis.right] if tile is None else [tile // 2 - axis.left, 0]
    return F.pad(k, padding).contiguous()


def subq_conv_prepared(u: Tensor, kernel: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, H, W)`` with a kernel given by :func:`subq_kernel`, in the type of ``u``."""
    tile = _tile(axes, u.shape[2:], u.device)
    if tile is None:
        return _operator('fft_conv2d')(u.float().contiguous(), kernel).to(u.dtype)
    return _operator('fused_fft_conv2d')(u.contiguous(), kernel.to(u.dtype), fft_size=tile)


def subq_conv(u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, H, W)`` with ``k`` ``(C, *kernel)`` cropped to ``axes``; the package differentiates."""
    return subq_conv_prepared(u, subq_kernel(k, axes, u.shape[2:]), axes)


def _device_type() -> str:
    return 'cuda'


def _tile(axes: Sequence[AxisGeometry], spatial: Sequence[int], device: torch.device) -> int | None:
    """Return the side of the fused operator's tile, or None if the map or the kernel is too large for it."""
    half = max(max(size, axis.left, axis.right + 1) for size, axis in zip(spatial, axes))
    tile = next((tile for tile in TILES if tile >= 2 * half), None)
    if tile == 128 and device.type == 'cuda' and torch.cuda.get_device_capability(device) < (9, 0):
        return None  # its backward needs sm_90
    return tile


@cache
def _operator(name: str) -> Callable[..., Tensor]:
    return getattr(importlib.import_module(f'{PACKAGE}.{name}'), name)


@cache
def _package_reason(device: torch.device) -> str | None:
    """Import the package and compare both operators with ours on a small map."""
    try:
        for name in ('fft_conv2d', 'fused_fft_conv2d'):
            _operator(name)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # it fails so without a driver
        return f'{PACKAGE} cannot be used: {type(error).__name__}: {error}'
    with torch.inference_mode(False), torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for size, taps in (((6, 5), (4, 9)), ((6, 80), (11, 7))):  # the fused operator and the other one
            u, k = (torch.randn(2, 3, *n, generator=generator).to(device) for n in (size, taps))
            axes = geometry(size, taps)
            k = k[0, :, axes[0].start : axes[0].stop, axes[1].start : axes[1].stop]
            try:
                got = subq_conv(u, k, axes)
            except (RuntimeError, ValueError, TypeError) as error:
                return f'{PACKAGE} cannot be used: {type(error).__name__}: {error}'
            if got.shape != u.shape or not torch.allclose(got, fft.fft_conv(u, k, axes), rtol=1e-3, atol=1e-3):
                return f'{PACKAGE} does not follow the convention that mmhyena knows'
    return None
