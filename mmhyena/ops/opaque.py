"""Convolutions as operators that torch.compile does not look into, so that they break no graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ['opaque_conv']

Forward = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
Backward = Callable[[Tensor, Tensor, Tensor, Sequence[int]], tuple[Tensor, Tensor]]


def opaque_conv(name: str, forward: Forward, backward: Backward, empty: Callable[[Tensor], Tensor]) -> Forward | None:
    """Register ``mmhyena::{name}`` and its gradient, or return None before torch 2.4, which has no such operators.

    Args:
        name: Name of the operator.
        forward: Convolves ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)``, ``left`` taps before the center.
        backward: Both gradients of ``(grad, u, k, left)``.
        empty: Returns a map laid out as the result and the gradient of ``u`` are.
    """
    if not hasattr(torch.library, 'custom_op'):
        return None

    def conv(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
        return forward(u, k, left)

    def conv_backward(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
        return backward(grad, u, k, left)

    # The schema is read from the annotations, which `from __future__ import annotations` turns into text.
    conv.__annotations__.update(u=Tensor, k=Tensor, left=Sequence[int], **{'return': Tensor})
    conv_backward.__annotations__.update(
        grad=Tensor, u=Tensor, k=Tensor, left=Sequence[int], **{'return': tuple[Tensor, Tensor]}
    )
    op = torch.library.custom_op(f'mmhyena::{name}', mutates_args=())(conv)
    grad_op = torch.library.custom_op(f'mmhyena::{name}_backward', mutates_args=())(conv_backward)
    op.register_fake(lambda u, k, left: empty(u))
    grad_op.register_fake(lambda grad, u, k, left: (empty(u), k.new_empty(k.shape)))

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        u, k, ctx.left = inputs
        ctx.save_for_backward(u, k)

    def autograd_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return (*grad_op(grad, *ctx.saved_tensors, ctx.left), None)

    op.register_autograd(autograd_backward, setup_context=setup_context)
    return op
