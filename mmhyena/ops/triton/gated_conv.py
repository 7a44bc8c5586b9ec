"""Gate, long convolution and gate as one operator, fused into one Triton kernel.

``y = post * (k * (pre * u))``: the kernel reads each feature map once and writes it once. Transforms are matrix
products on tensor cores, as in :mod:`mmhyena.ops.dft`. They multiply in the type of the map (float16 in float32, which
its sums would overflow) and add in float32.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from mmhyena.ops.dft import dft_conv, dft_kernel
from mmhyena.ops.geometry import AxisGeometry, ConvCase, dft_length
from mmhyena.ops.mode import in_functorch, is_compiling, is_exporting

__all__ = ['cost', 'reason', 'triton_conv', 'triton_conv_prepared', 'triton_kernel']

# Transforms longer than this do not fit the registers of one program.
MAX_LENGTH = 128


def reason(case: ConvCase) -> str | None:
    """Return why this backend cannot serve ``case``, or None if it can."""
    if is_compiling() or is_exporting() or in_functorch():
        return 'the graph is being compiled, exported or transformed by torch.func'
    if len(case.spatial) != 2 or case.batch == 0:
        return 'it takes non-empty maps (B, C, H, W)'
    if case.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f'it does not compute in {case.dtype}'
    if not (_has_triton() and (case.device.type == 'cuda' or _is_interpreted())):
        return 'it needs Triton 3 and a CUDA device'
    if max(_lengths(case.axes, case.spatial)) > MAX_LENGTH:
        return f'it takes transforms of at most {MAX_LENGTH} points'
    return None


def cost(case: ConvCase) -> float:
    """Return the estimated nanoseconds per image and channel: the larger of the products' and the memory's time."""
    if case.device.type != 'cuda':
        return float('inf')  # the interpreter is for tests, which name the backend
    (height, width), (rows, columns) = case.spatial, _lengths(case.axes, case.spatial)
    half = rows // 2 + 1
    flops = 2 * 2 * (2 * half * height * width + 4 * half * columns * width)
    rate = 3e4 if case.dtype == torch.float32 else 2e5  # flops per nanosecond; float32 without tensor cores
    size = torch.finfo(case.dtype).bits // 8
    return (1 if case.is_constant else 4) * max(flops / rate, 4 * size * height * width / 3e3)


def triton_kernel(k: Tensor, axes: Sequence[AxisGeometry], spatial: Sequence[int]) -> Tensor:
    """Return the spectrum ``(C, F, 2, N)`` of a kernel ``(C, *kernel)`` cropped to ``axes``."""
    return dft_kernel(k, axes, spatial).permute(3, 0, 1, 2).contiguous()


def triton_conv_prepared(
    u: Tensor, spectrum: Tensor, axes: Sequence[AxisGeometry], pre: Tensor | None = None, post: Tensor | None = None
) -> Tensor:
    """Return ``post * (k * (pre * u))`` with a kernel given by :func:`triton_kernel`, in the type of ``u``."""
    return _run(u, spectrum, pre, post, axes)


def triton_conv(
    u: Tensor, k: Tensor, axes: Sequence[AxisGeometry], pre: Tensor | None = None, post: Tensor | None = None
) -> Tensor:
    """Return ``post * (k * (pre * u))``, differentiable once.

    Args:
        u: Feature map ``(B, C, H, W)``.
        k: Kernel ``(C, *kernel)`` in float32, cropped to ``axes``.
        axes: How the kernel lies on the map.
        pre: Gate before the convolution, shape of ``u``, or None.
        post: Gate after it, shape of ``u``, or None.
    """
    return _FusedConv.apply(u, k, pre, post, tuple(axes))


def _lengths(axes: Sequence[AxisGeometry], spatial: Sequence[int]) -> list[int]:
    return [dft_length(axis, size) for axis, size in zip(axes, spatial)]


@cache
def _has_triton() -> bool:
    try:
        return int(version('triton').partition('.')[0]) >= 3
    except PackageNotFoundError:
        return False


def _is_interpreted() -> bool:
    return os.environ.get('TRITON_INTERPRET') == '1'


class _FusedConv(torch.autograd.Function):
    """Saves the real inputs alone; the backward runs the same kernel with the conjugate spectrum."""

    @staticmethod
    def forward(
        u: Tensor, k: Tensor, pre: Tensor | None, post: Tensor | None, axes: tuple[AxisGeometry, ...]
    ) -> Tensor:
        return _run(u, triton_kernel(k, axes, u.shape[2:]), pre, post, axes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.axes = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (u, k, pre, post), axes = ctx.saved_tensors, ctx.axes
        spectrum = triton_kernel(k, axes, u.shape[2:])
        needs_u, needs_k, needs_pre, needs_post, _ = ctx.needs_input_grad
        grad_u = grad_k = grad_pre = grad_post = None
        if needs_post:
            grad_post = grad * _run(u, spectrum, pre, None, axes)
        if needs_k:
            gated = u if pre is None else u * pre
            grad_k = _kernel_gradient(gated, grad if post is None else grad * post, k, axes)
        if needs_u or needs_pre:
            spectrum[:, :, 1].neg_()  # the conjugate
            inner = _run(grad, spectrum, post, None, axes)
            grad_u = inner if pre is None else inner * pre
            grad_pre = inner * u if needs_pre else None
        return grad_u, grad_k, grad_pre, grad_post, None


def _kernel_gradient(u: Tensor, grad: Tensor, k: Tensor, axes: tuple[AxisGeometry, ...]) -> Tensor:
    with torch.enable_grad():
        kernel = k.detach().requires_grad_()
        y = dft_conv(u.detach().float(), kernel, axes)
    return torch.autograd.grad(y, kernel, grad.float())[0]


def _run(u: Tensor, spectrum: Tensor, pre: Tensor | None, post: Tensor | None, axes: Sequence[AxisGeometry]) -> Tensor:
    from mmhyena.ops.triton.kernel import fused_conv  # imported here: needs Triton

    return fused_conv(u, spectrum, _lengths(axes, u.shape[2:]), pre, post)
