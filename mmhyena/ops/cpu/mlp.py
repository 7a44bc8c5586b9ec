"""Linear layers and the MetaFormer's channel MLP in forms that touch memory less often.

Elementwise work dominates a MetaFormer on large feature maps: StarReLU alone is four passes over the hidden
activations. Here the products run on oneDNN with the ReLU fused into them, the rest of StarReLU is one pass in place,
and a tile of rows is finished while its hidden activations are still in the cache. In training only the ReLU's output
is saved for backward.
"""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhyena.ops.autograd import elementary_grads, takes_custom_function
from mmhyena.ops.mode import autocast_dtype, has_onednn, has_onednn_bfloat16, is_inference

__all__ = [
    'add_residual',
    'fold_star_relu',
    'linear',
    'norm_mlp_residual',
    'pack_weight',
    'star_relu',
    'star_relu_mlp',
    'store_by_columns_',
]

# Hidden activations of a tile, in elements: beyond about 4 MiB they fall out of the cache (docs/performance.md).
TILE = 2**20
# The same where the hidden activations are saved anyway: larger products are faster.
SAVED_TILE = 2**22

_HALF = (torch.float16, torch.bfloat16)


def _fits_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    tensors = [x, weight] if bias is None else [x, weight, bias]
    return (
        has_onednn()
        and hasattr(torch.ops.mkldnn, '_linear_pointwise')
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and has_onednn_bfloat16()))
        and all(
            type(t) in (Tensor, torch.nn.Parameter)
            and t.device.type == 'cpu'
            and t.dtype == x.dtype
            and t.numel() > 0
            and (t.is_contiguous() or (t is weight and t.t().is_contiguous()))
            for t in tensors
        )
    )


def store_by_columns_(weight: Tensor) -> None:
    """Store the weight ``(C_out, C_in)`` of a linear layer column by column, in place: values and shape stay.

    Products on oneDNN read weights in this order. They rearrange a weight that is stored by rows in every call, which
    takes about a tenth of their time.
    """
    weight.data = weight.data.t().contiguous().t()


def pack_weight(weight: Tensor) -> Tensor:
    """Return the weight ``(C_out, C_in)`` of a linear layer in the order in which oneDNN computes with it.

    :func:`linear` and :func:`norm_mlp_residual` alone take the result, without gradients. It is a plain contiguous
    tensor where products do not run on oneDNN. In bfloat16 this saves a tenth of the time of small products
    (``benchmarks/shares.py``).
    """
    weight = weight.contiguous()
    if not _fits_onednn(weight, weight, None) or not hasattr(torch.ops.mkldnn, '_reorder_linear_weight'):
        return weight
    return torch.ops.mkldnn._reorder_linear_weight(weight)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """``x @ weight.T + bias``, then a ReLU if asked for; not differentiable."""
    if weight.is_mkldnn and x.numel() == 0:
        return x.new_empty(*x.shape[:-1], weight.shape[0])
    if weight.is_mkldnn or _fits_onednn(x, weight, bias):
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, 'relu' if relu else 'none', [], '')
    y = F.linear(x, weight, bias)
    return y.relu_() if relu else y


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` as ``F.linear`` does, ``(..., C_in)`` to ``(..., C_out)``.

    Without gradients the product runs on oneDNN. It reads the weights in place, so it never uses stale ones.
    """
    if is_inference() and autocast_dtype(x) is None:
        return _product(x, weight, bias)
    return F.linear(x, weight, bias)


def _scale_square(relu: Tensor, scale: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``scale * relu ** 2 + bias``, rounded once, into ``out`` if given, which may be ``relu`` itself."""
    if relu.dtype in _HALF:
        y = relu.float().square_().mul_(scale).add_(bias)
        return y.to(relu.dtype) if out is None else out.copy_(y)
    if relu.device.type == 'cpu':  # one pass; reading a scalar stalls no queue here
        return torch.addcmul(bias.to(relu.dtype), relu, relu, value=scale.item(), out=out)
    return torch.mul(relu, relu, out=out).mul_(scale).add_(bias)


def _tile_rows(x: Tensor, hidden: int, tile: int) -> int:
    """Return the rows per tile for about ``tile`` hidden activations, in tiles of similar size."""
    rows = max(1, x.shape[0])
    if x.device.type != 'cpu':
        return rows
    return ceil(rows / ceil(rows / max(1, tile // hidden)))


def star_relu(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return ``scale * relu(x) ** 2 + bias`` for ``x`` of any shape; the ReLU's output is saved for backward.

    Args:
        x: Any shape.
        scale: ``(1,)``.
        bias: ``(1,)``.
    """
    if not takes_custom_function(x, scale, bias):
        return _elementary_star_relu(x, scale, bias)
    if not _needs_grad(x, scale, bias):
        relu = F.relu(x)
        return _scale_square(relu, scale, bias, out=relu)
    return _StarReLU.apply(x, scale, bias)[0]


def _needs_grad(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _elementary_star_relu(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return (scale * F.relu(x).square() + bias).to(x.dtype)


class _StarReLU(torch.autograd.Function):
    """Returns the activation and the ReLU's output, which is saved for backward.

    The latter is differentiable as well, so that the gradient can be differentiated again without saving the input.
    """

    @staticmethod
    def forward(x: Tensor, scale: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        relu = F.relu(x)
        return _scale_square(relu, scale, bias), relu

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1], *inputs[1:])

    @staticmethod
    def backward(ctx, grad: Tensor | None, grad_relu: Tensor | None) -> tuple[Tensor | None, ...]:
        relu, scale, bias = ctx.saved_tensors
        grad_x = None if grad_relu is None else grad_relu * (relu > 0)
        if grad is None:
            return grad_x, None, None
        product, total = grad * relu, _sum_dtype(grad)
        through_square = product * (2 * scale).to(grad.dtype)
        return (
            through_square if grad_x is None else grad_x + through_square,
            (product * relu).sum(dtype=total).to(scale.dtype).view(1),
            grad.sum(dtype=total).to(bias.dtype).view(1),
        )


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in _HALF else x.dtype


def star_relu_mlp(x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return ``(scale * relu(x @ fc1.T) ** 2 + bias) @ fc2.T``, the MetaFormer's MLP (arXiv 2210.13452).

    Saves ``x`` and the ReLU's output for backward, about a quarter of what the elementary operations save.

    Args:
        x: ``(..., C)``.
        fc1: ``(hidden, C)``.
        fc2: ``(C_out, hidden)``.
        scale: StarReLU's factor, ``(1,)``.
        bias: StarReLU's offset, ``(1,)``.
    """
    if not takes_custom_function(x, fc1, fc2, scale, bias):
        return _elementary_mlp(x, fc1, fc2, scale, bias)
    if (dtype := autocast_dtype(x)) is not None:
        x, fc1, fc2 = x.to(dtype), fc1.to(dtype), fc2.to(dtype)
    rows = x.reshape(-1, x.shape[-1])
    with torch.autocast(x.device.type, enabled=False):
        if _needs_grad(rows, fc1, fc2, scale, bias):
            y = _StarReLUMlp.apply(rows, fc1, fc2, scale, bias)[0]
        else:
            y, _ = _mlp_in_tiles(rows, fc1, fc2, scale, bias, save=False)
    return y.view(*x.shape[:-1], fc2.shape[0])


def _elementary_mlp(x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.linear(_elementary_star_relu(F.linear(x, fc1), scale, bias), fc2)


def _mlp_in_tiles(
    x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor, save: bool
) -> tuple[Tensor, list[Tensor]]:
    """Return the MLP of rows ``(M, C)`` and, if asked to save them, the ReLU's outputs ``(rows, hidden)`` per tile."""
    y, saved = x.new_empty(x.shape[0], fc2.shape[0]), []
    tile = _tile_rows(x, fc1.shape[0], SAVED_TILE if save else TILE)
    for rows, out in zip(x.split(tile), y.split(tile)):
        relu = _product(rows, fc1, relu=True)
        out.copy_(_product(_scale_square(relu, scale, bias, None if save else relu), fc2))
        if save:
            saved.append(relu)
    return y, saved


class _StarReLUMlp(torch.autograd.Function):
    """The MLP on rows ``(M, C)``, followed by the ReLU's outputs per tile, which are saved for backward."""

    @staticmethod
    def forward(x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        y, relus = _mlp_in_tiles(x, fc1, fc2, scale, bias, save=True)
        return y, *relus

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 5
        x, fc1, fc2, scale, bias, *relus = ctx.saved_tensors
        if torch.is_grad_enabled():
            return elementary_grads(_elementary_mlp, (x, fc1, fc2, scale, bias), grad, ctx.needs_input_grad)
        return _mlp_grads(grad.contiguous(), x, fc1, fc2, scale, bias, relus)


def _mlp_grads(
    grad: Tensor, x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor, relus: list[Tensor]
) -> tuple[Tensor, ...]:
    """Return the gradients of all inputs of :func:`_mlp_in_tiles`; sums over tiles are not rounded to half precision.

    With ``t = relu(x @ fc1.T)`` and ``d = grad @ fc2``: ``grad_fc2 = grad.T @ (scale * t ** 2 + bias)``,
    ``grad_scale = sum(d * t ** 2)``, ``grad_bias = sum(d)``, and the gradient before the ReLU is ``2 * scale * d * t``.
    """
    dtype = _sum_dtype(grad)
    grad_x, grad_scale = torch.empty_like(x), scale.new_zeros((), dtype=dtype)
    grad_fc1, grad_fc2 = torch.zeros_like(fc1, dtype=dtype), torch.zeros_like(fc2, dtype=dtype)
    tile = _tile_rows(x, fc1.shape[0], SAVED_TILE)
    for rows, out, g, relu in zip(x.split(tile), grad_x.split(tile), grad.split(tile), relus):
        _add_product(grad_fc2, g.t(), _scale_square(relu, scale, bias))
        product = _product(g, fc2.t()).mul_(relu)  # d * t, (rows, hidden)
        grad_scale += _dot(product, relu)
        _add_product(grad_fc1, product.t(), rows)
        torch.mul(_product(product, fc1.t()), (2 * scale).to(x.dtype), out=out)
    grad_bias = grad.sum(0, dtype=dtype) @ fc2.sum(1, dtype=dtype)
    return (
        grad_x,
        grad_fc1.mul_(2 * scale).to(fc1.dtype),
        grad_fc2.to(fc2.dtype),
        grad_scale.to(scale.dtype).view(1),
        grad_bias.to(bias.dtype).view(1),
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return ``sum(a * b)``, added up in float32 at least."""
    return (a * b).sum(dtype=torch.float32) if a.dtype in _HALF else torch.bmm(a[:, None], b[:, :, None]).sum()


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``total``, whose type may be wider."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def add_residual(branch: Tensor, x: Tensor, scale: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Return ``scale * x + branch``, all ``(..., C)`` and ``scale`` ``(C,)`` or None for 1, into ``out`` if given."""
    branch = branch.to(x.dtype)
    if scale is None:
        return torch.add(branch, x, out=out)
    return torch.addcmul(branch, x, scale, out=out)


def fold_star_relu(fc2: Tensor, scale: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias of ``fc2(scale * t + bias)`` as a linear layer of ``t``: StarReLU is ``t = relu(x) ** 2``.

    Args:
        fc2: ``(C, hidden)``.
        scale: ``(1,)``.
        bias: ``(1,)``.

    Returns:
        Weight ``(C, hidden)`` and bias ``(C,)``.
    """
    return scale * fc2, bias * fc2.sum(1)


def norm_mlp_residual(
    x: Tensor,
    norm: tuple[Tensor | None, Tensor | None],
    eps: float,
    fc1: Tensor,
    fc2: Tensor,
    scale: Tensor | None,
    bias: Tensor,
    res_scale: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return ``res_scale * x + star_relu_mlp(layer_norm(x), ...)``, tile by tile; not differentiable.

    Products are computed in the type of ``fc1``, all else in that of ``x``.

    Args:
        x: ``(..., C)``.
        norm: Weight and bias of the layer norm, each ``(C,)`` or None.
        eps: The norm's epsilon.
        fc1: As in :func:`star_relu_mlp`, and so ``fc2``, ``scale`` and ``bias``.
        fc2: ``(C, hidden)``.
        scale: ``(1,)``, or None if ``fc2`` and ``bias`` are those of :func:`fold_star_relu`.
        bias: ``(1,)``, or ``(C,)`` without ``scale``.
        res_scale: ``(C,)``, or None for 1.
        out: Contiguous tensor to write into, which may be ``x`` itself.
    """
    y = torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out
    flat = x.reshape(-1, x.shape[-1])
    tile = _tile_rows(flat, fc1.shape[0], TILE)
    for rows, part in zip(flat.split(tile), y.view(flat.shape).split(tile)):
        relu = _product(F.layer_norm(rows, rows.shape[-1:], *norm, eps).to(fc1.dtype), fc1, relu=True)
        if scale is None:
            mixed = _product(relu.mul_(relu), fc2, bias)
        else:
            mixed = _product(_scale_square(relu, scale, bias, relu), fc2)
        add_residual(mixed, rows, res_scale, out=part)
    return y
