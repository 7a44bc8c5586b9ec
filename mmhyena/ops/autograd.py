"""What the custom autograd functions share: where they may run, and how their gradients are differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmhyena.ops.mode import is_recording_graph

__all__ = ['elementary_grads', 'no_forward_mode', 'takes_custom_function']


def takes_custom_function(*tensors: Tensor | None) -> bool:
    """Whether a custom autograd function may compute with ``tensors``.

    Compilers and tracers fuse or record elementary operations better. Transforms of ``torch.func``, tensor subclasses
    (FakeTensor, DTensor, quantized weights) and the meta device need elementary operations.
    """
    if is_recording_graph() or torch._C._are_functorch_transforms_active():
        return False
    return all(t is None or (type(t) in (Tensor, torch.nn.Parameter) and not t.is_meta) for t in tensors)


def elementary_grads(
    function: Callable[..., Tensor], inputs: Sequence[Tensor | None], grad: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of ``function(*inputs)`` in a form that autograd can differentiate again.

    Meant for the ``backward`` of a custom function under ``create_graph=True``, in which gradients are enabled.

    Args:
        function: The same result by elementary operations.
        inputs: Inputs of the custom function, as saved for backward.
        grad: Gradient of the result.
        needed: Which inputs need a gradient, ``ctx.needs_input_grad``.
    """
    # Views, since an input may depend on another one, whose gradient must not include that path.
    views = [None if t is None else t.view_as(t) for t in inputs]
    wanted = [view for view, need in zip(views, needed) if need and view is not None]
    grads = iter(torch.autograd.grad(function(*views), wanted, grad, create_graph=True))
    return tuple(next(grads) if need else None for need in needed)


def no_forward_mode(ctx: Any, *tangents: Tensor | None) -> None:
    """Refuse forward-mode differentiation, as the ``jvp`` of a custom function of the long convolution."""
    raise NotImplementedError(
        "this long convolution has no forward-mode derivative; use mmhyena.ops.use_backend('direct'), which has one"
    )
