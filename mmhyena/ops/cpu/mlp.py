"""Linear layers and the MetaFormer's channel MLP in forms that touch memory less often.

Element-wise work dominates a MetaFormer on large maps: StarReLU alone is four passes over the hidden activations. Here
the products run on oneDNN with the ReLU inside, the rest of StarReLU is one pass in place, and the hidden activations
of a tile of pixels are used up while they are still in the cache. In training only the ReLU's output is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhyena.ops.mode import autocast_dtype, has_onednn, is_recording_graph, records_nothing

__all__ = ['add_residual', 'linear', 'norm_mlp_residual', 'star_relu', 'star_relu_mlp']

# Hidden activations of a tile, in elements: beyond about 4 MiB they fall out of the cache (docs/performance.md).
TILE = 2**20
# The same where activations are kept anyway: larger products are faster.
KEPT_TILE = 2**22
# Below this many rows oneDNN's reordering of wide weights costs more than its faster product gains, and below a few
# every product is bound by reading the weights.
MIN_ROWS = 80
FEW_ROWS = 16
# From this many rows for each row of a weight on, its transpose for oneDNN costs less than the faster product gains.
MANY_ROWS = 16


def _has_onednn_linear() -> bool:
    return has_onednn() and hasattr(torch.ops.mkldnn, '_linear_pointwise')


def _fits_onednn(x: Tensor, *weights: Tensor | None) -> bool:
    tensors = (x, *(w for w in weights if w is not None))
    return (
        _has_onednn_linear()
        and x.numel() >= FEW_ROWS * x.shape[-1]
        and all(type(t) in (Tensor, torch.nn.Parameter) for t in tensors)
        and all(t.device.type == 'cpu' and t.dtype == torch.float32 and t.is_contiguous() for t in tensors)
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """``x @ weight.T + bias``, rectified if asked; records no gradient."""
    if not _fits_onednn(x, weight, bias):
        y = F.linear(x, weight, bias)
    elif x.numel() >= MIN_ROWS * x.shape[-1] or weight.shape[0] < weight.shape[1]:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'relu' if relu else 'none', [], '')
    else:
        y = _few_rows_product(x, weight, bias)
    return y.relu_() if relu else y


def _few_rows_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` as the transpose of ``weight @ x.T``: the wide weight is read once, in order."""
    columns = x.view(-1, x.shape[-1]).t()
    y = weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)  # (C_out, rows)
    return y.t().contiguous().view(*x.shape[:-1], -1)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` as ``F.linear`` does, ``(..., C_in)`` to ``(..., C_out)``.

    Where no gradient is asked for, the product is the fastest for the shape. All read the weights as they are, so
    nothing can be stale.
    """
    if records_nothing() and autocast_dtype(x) is None:
        return _product(x, weight, bias)
    return F.linear(x, weight, bias)


def _product_with(weight: Tensor, rows: int) -> Callable[[Tensor], Tensor]:
    """Return the map of some of ``rows`` rows ``x`` to ``x @ weight``; records no gradient."""
    if rows < MANY_ROWS * weight.shape[0] or not _has_onednn_linear():
        return lambda x: x @ weight
    transposed = weight.t().contiguous()
    return lambda x: _product(x, transposed)


def _square_(relu: Tensor, scale: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``scale * relu ** 2 + bias`` in one pass, into ``out`` if given, which may be ``relu`` itself."""
    if relu.device.type == 'cpu':  # reading a scalar stalls nothing here
        return torch.addcmul(bias.to(relu.dtype), relu, relu, value=scale.item(), out=out)
    square = torch.mul(relu, relu, out=out)
    return square.mul_(scale).add_(bias)


def _tile_rows(x: Tensor, hidden: int, tile: int) -> int:
    """Return the rows of a tile of about ``tile`` hidden activations, so that all tiles of ``x`` are about equal."""
    rows = max(1, x.shape[0])
    if x.device.type != 'cpu':
        return rows
    return ceil(rows / ceil(rows / max(MIN_ROWS, tile // hidden)))


def star_relu(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return ``scale * relu(x) ** 2 + bias``, ``(...)`` to ``(...)``; keeps the ReLU's output for the backward."""
    if is_recording_graph():
        return scale * F.relu(x).square() + bias
    return _StarReLU.apply(x, scale, bias)


class _StarReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        relu = F.relu(x)
        if not any(ctx.needs_input_grad):
            return _square_(relu, scale, bias, relu)
        ctx.save_for_backward(relu, scale, bias)
        return _square_(relu, scale, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        relu, scale, bias = ctx.saved_tensors
        product = grad * relu
        grad_scale = (product * relu).sum().to(scale.dtype).view(1)
        grad_bias = grad.sum().to(bias.dtype).view(1)
        return product.mul_(2 * scale.to(grad.dtype)), grad_scale, grad_bias


def star_relu_mlp(x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return ``(scale * relu(x @ fc1.T) ** 2 + bias) @ fc2.T``, the MetaFormer's MLP (arXiv 2210.13452).

    Keeps ``x`` and the ReLU's output for the backward, a quarter of what the elementary steps keep.

    Args:
        x: ``(..., C)``.
        fc1: ``(hidden, C)``.
        fc2: ``(C_out, hidden)``.
        scale: StarReLU's factor, ``(1,)``.
        bias: StarReLU's offset, ``(1,)``.
    """
    if is_recording_graph():  # a compiler fuses the elementary steps itself
        return F.linear(scale * F.relu(F.linear(x, fc1)).square() + bias, fc2)
    if (dtype := autocast_dtype(x)) is not None:
        x, fc1, fc2 = x.to(dtype), fc1.to(dtype), fc2.to(dtype)
    rows = x.reshape(-1, x.shape[-1])
    with torch.autocast(x.device.type, enabled=False):
        y = _StarReLUMlp.apply(rows, fc1, fc2, scale, bias)
    return y.view(*x.shape[:-1], fc2.shape[0])


class _StarReLUMlp(torch.autograd.Function):
    """The MLP on rows ``(M, C)``; hidden activations live for one tile, and their ReLU is all that is kept of them."""

    @staticmethod
    def forward(ctx, x: Tensor, fc1: Tensor, fc2: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        y = x.new_empty(x.shape[0], fc2.shape[0])
        keep, kept = any(ctx.needs_input_grad), []
        tile = _tile_rows(x, fc1.shape[0], KEPT_TILE if keep else TILE)
        for rows, out in zip(x.split(tile), y.split(tile)):
            relu = _product(rows, fc1, relu=True)
            out.copy_(_product(_square_(relu, scale, bias, None if keep else relu), fc2))
            if keep:
                kept.append(relu)
        ctx.save_for_backward(x, fc1, fc2, scale, bias, *kept)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        x, fc1, fc2, scale, bias, *kept = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x, grad_fc1, against_square = torch.empty_like(x), torch.zeros_like(fc1), torch.zeros_like(fc2)
        through_fc1, through_fc2 = _product_with(fc1, x.shape[0]), _product_with(fc2, x.shape[0])
        tile = _tile_rows(x, fc1.shape[0], KEPT_TILE)
        for rows, out, g, relu in zip(x.split(tile), grad_x.split(tile), grad.split(tile), kept):
            against_square.addmm_(g.t(), relu.square())  # (C_out, hidden)
            hidden = through_fc2(g * (2 * scale).to(g.dtype)).mul_(relu)  # gradient before the ReLU, (rows, hidden)
            grad_fc1.addmm_(hidden.t(), rows)
            out.copy_(through_fc1(hidden))
        total = grad.sum(0)  # (C_out,)
        grad_fc2 = against_square * scale.to(grad.dtype) + (total * bias.to(grad.dtype))[:, None]
        grad_scale = (against_square * fc2).sum().to(scale.dtype).view(1)
        grad_bias = (total * fc2.sum(1)).sum().to(bias.dtype).view(1)
        return grad_x, grad_fc1, grad_fc2, grad_scale, grad_bias


def add_residual(branch: Tensor, x: Tensor, scale: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Return ``scale * x + branch``, all ``(..., C)`` and ``scale`` ``(C,)`` or None for 1, into ``out`` if given."""
    if scale is None:
        return torch.add(branch, x, out=out)
    return torch.addcmul(branch, x, scale, out=out)


def norm_mlp_residual(
    x: Tensor,
    norm: Tensor,
    eps: float,
    fc1: Tensor,
    fc2: Tensor,
    scale: Tensor,
    bias: Tensor,
    res_scale: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return ``res_scale * x + star_relu_mlp(layer_norm(x), ...)``, tile by tile; records no gradient.

    Args:
        x: ``(..., C)``.
        norm: Weight of the layer norm, ``(C,)``; it has no bias.
        eps: The norm's epsilon.
        fc1: As in :func:`star_relu_mlp`, and so ``fc2``, ``scale`` and ``bias``.
        fc2: ``(C, hidden)``.
        scale: ``(1,)``.
        bias: ``(1,)``.
        res_scale: ``(C,)``, or None for 1.
        out: Contiguous tensor to write into, which may be ``x`` itself.
    """
    y = torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out
    flat = x.reshape(-1, x.shape[-1])
    tile = _tile_rows(flat, fc1.shape[0], TILE)
    for rows, part in zip(flat.split(tile), y.view(flat.shape).split(tile)):
        relu = _product(F.layer_norm(rows, norm.shape, norm, None, eps), fc1, relu=True)
        mixed = _product(_square_(relu, scale, bias, relu), fc2)
        add_residual(mixed, rows, res_scale, out=part)
    return y
