"""The gates of a Hyena mixer, with a backward that writes each gradient where it belongs."""

from __future__ import annotations

import torch
from torch import Tensor

from mmhyena.ops.mode import is_recording_graph

__all__ = ['split_gates']


def split_gates(wide: Tensor, last: int) -> tuple[Tensor, Tensor]:
    """Split ``wide`` ``(..., 3C)`` into thirds; return the product of two of them, and the third of index ``last``.

    The backward of chunks and products would make three gradients and put them together in another tensor.
    """
    if is_recording_graph() or not (torch.is_grad_enabled() and wide.requires_grad):
        return _split(wide, last)
    return _SplitGates.apply(wide, last)


def _split(wide: Tensor, last: int) -> tuple[Tensor, Tensor]:
    thirds = list(wide.chunk(3, dim=-1))
    gate = thirds.pop(last)
    return thirds[0] * thirds[1], gate


class _SplitGates(torch.autograd.Function):
    @staticmethod
    def forward(ctx, wide: Tensor, last: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(wide)
        ctx.last = last
        return _split(wide, last)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_product: Tensor, grad_gate: Tensor) -> tuple[Tensor, None]:
        (wide,) = ctx.saved_tensors
        grad = torch.empty_like(wide)
        thirds, grads = list(wide.chunk(3, dim=-1)), list(grad.chunk(3, dim=-1))
        thirds.pop(ctx.last)
        grads.pop(ctx.last).copy_(grad_gate)
        torch.mul(grad_product, thirds[1], out=grads[0])
        torch.mul(grad_product, thirds[0], out=grads[1])
        return grad, None
