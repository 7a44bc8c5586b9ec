"""Gate, long convolution and gate as one operator, fused into one kernel where Triton and the shape allow it."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from mmhyena.ops.dft import dft_conv, dft_kernel, dft_length
from mmhyena.ops.geometry import AxisGeometry, geometry
from mmhyena.ops.long_conv import long_conv
from mmhyena.ops.mode import is_compiling, is_exporting

__all__ = ['fused_reason', 'gated_long_conv']

# Transforms longer than this do not fit the registers of one program.
MAX_LENGTH = 128


def gated_long_conv(
    u: Tensor,
    k: Tensor,
    skip: Tensor | None = None,
    *,
    pre: Tensor | None = None,
    post: Tensor | None = None,
    fused: bool | None = None,
) -> Tensor:
    """Return ``post * long_conv(pre * u, k, skip)``, centred.

    The fused kernel reads each map once and writes it once: gate, transform by matrix products, product with the
    kernel's spectrum, inverse, gate. It multiplies in the type of ``u`` (float16 in float32, which its sums would
    overflow) and adds in float32.

    Args:
        u: Map ``(B, C, H, W)``.
        k: Kernel ``(C, *kernel)``.
        skip: Weight of the convolution's input, ``(C,)``.
        pre: Gate before the convolution, shape of ``u``, or None.
        post: Gate after it, shape of ``u``, or None.
        fused: Whether to use the fused kernel; None for where it is possible.

    Returns:
        Map of the shape and dtype of ``u``.

    Raises:
        ValueError: If shapes do not fit, or ``fused`` is True where that is impossible, with the reason.
    """
    for name, gate in (('pre', pre), ('post', post)):
        if gate is not None and gate.shape != u.shape:
            raise ValueError(f'{name} must have the shape {tuple(u.shape)} of the map, got {tuple(gate.shape)}')
    reason = fused_reason(u, k) if fused is not False else 'it was not asked for'
    if fused and reason:
        raise ValueError(f'the fused kernel cannot be used: {reason}')
    if reason:
        y = long_conv(u if pre is None else u * pre, k, skip)
        return y if post is None else y * post
    axes = geometry(u.shape[2:], k.shape[1:])
    kernel = k[:, axes[0].start : axes[0].stop, axes[1].start : axes[1].stop].float()
    if skip is not None:
        centre = torch.zeros(kernel.shape[1:], device=k.device)
        centre[axes[0].left, axes[1].left] = 1
        kernel = kernel + skip.float()[:, None, None] * centre
    with torch.autocast(u.device.type, enabled=False):
        return _FusedConv.apply(u, kernel, pre, post, axes)


def fused_reason(u: Tensor, k: Tensor) -> str | None:
    """Return why the fused kernel cannot serve this map and kernel, or None if it can."""
    if is_compiling() or is_exporting():
        return 'the graph is being compiled or exported'
    if u.dim() != 4 or k.dim() != 3 or u.numel() == 0:
        return 'it takes non-empty maps (B, C, H, W)'
    if u.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f'it does not compute in {u.dtype}'
    if not (_has_triton() and (u.is_cuda or _is_interpreted())):
        return 'it needs Triton 3 and a CUDA device'
    axes = geometry(u.shape[2:], k.shape[1:])
    longest = max(dft_length(axis, size) for axis, size in zip(axes, u.shape[2:]))
    if longest > MAX_LENGTH:
        return f'transforms of {longest} points exceed its {MAX_LENGTH}'
    return None


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
        ctx, u: Tensor, k: Tensor, pre: Tensor | None, post: Tensor | None, axes: tuple[AxisGeometry, ...]
    ) -> Tensor:
        ctx.save_for_backward(u, k, pre, post)
        ctx.axes = axes
        return _run(u, _spectrum(k, axes, u.shape[2:]), pre, post, axes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (u, k, pre, post), axes = ctx.saved_tensors, ctx.axes
        spectrum = _spectrum(k, axes, u.shape[2:])
        grad_post = None
        if post is not None and ctx.needs_input_grad[3]:
            grad_post = grad * _run(u, spectrum, pre, None, axes)
        gated = u if pre is None else u * pre
        inner = _run(grad, spectrum * spectrum.new_tensor([1.0, -1.0])[:, None], post, None, axes)
        grad_k = _kernel_gradient(gated, grad if post is None else grad * post, k, axes)
        if pre is None:
            return inner, grad_k, None, grad_post, None
        return inner * pre, grad_k, inner * u, grad_post, None


def _spectrum(k: Tensor, axes: tuple[AxisGeometry, ...], spatial: tuple[int, ...]) -> Tensor:
    """Spectrum ``(C, F, 2, N)`` of a kernel ``(C, *kernel)``."""
    return dft_kernel(k, axes, spatial).permute(3, 0, 1, 2).contiguous()


def _kernel_gradient(u: Tensor, grad: Tensor, k: Tensor, axes: tuple[AxisGeometry, ...]) -> Tensor:
    with torch.enable_grad():
        kernel = k.detach().requires_grad_()
        y = dft_conv(u.detach().float(), kernel, axes)
    return torch.autograd.grad(y, kernel, grad.float())[0]


def _run(
    u: Tensor, spectrum: Tensor, pre: Tensor | None, post: Tensor | None, axes: tuple[AxisGeometry, ...]
) -> Tensor:
    from mmhyena.ops.triton.kernel import fused_conv  # imported here: needs Triton

    lengths = [dft_length(axis, size) for axis, size in zip(axes, u.shape[2:])]
    return fused_conv(u, spectrum, lengths, pre, post)
