"""Short depthwise convolution with a backward that is fast with channels last on a CPU.

PyTorch's gradient of the weight takes ten times as long as the forward there. It is a depthwise convolution as well, of
the input with the output's gradient as a kernel of the input's size, and as such it runs at the forward's speed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhyena.ops.autograd import elementary_grads, takes_custom_function
from mmhyena.ops.mode import autocast_dtype, has_onednn

__all__ = ['depthwise_conv', 'depthwise_conv_channels_last', 'unpadded_depthwise_conv']

# Elements of the input that are convolved at a time for the weight's gradient: about what the caches hold.
TILE = 2**19


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve each channel with its own kernel, zero-padded so that the size stays.

    Args:
        x: ``(B, C, H, W)``.
        weight: ``(C, 1, kh, kw)``, odd.
        bias: ``(C,)``.

    Returns:
        ``(B, C, H, W)``.
    """
    if _uses_custom_backward(x, weight, bias):
        return _DepthwiseConv.apply(x, weight, bias)
    return _conv(x, weight, bias)


def depthwise_conv_channels_last(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return :func:`depthwise_conv` of ``(B, L, C)`` or ``(B, H, W, C)`` in the same form.

    Args:
        x: The feature map with channels last.
        weight: ``(C, 1, k)`` or ``(C, 1, kh, kw)``, odd.
        bias: ``(C,)``.
    """
    if x.dim() == 3:  # as a row of pixels: only 2-D convolutions have a form with channels last
        return depthwise_conv(x.unsqueeze(1).permute(0, 3, 1, 2), weight.unsqueeze(2), bias)[:, :, 0].movedim(1, -1)
    return depthwise_conv(x.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)


def unpadded_depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve ``(B, rows, C)`` or ``(B, rows, W, C)``, zero-padded along W alone; not differentiable.

    Args:
        x: The feature map with channels last.
        weight: ``(C, 1, k)`` or ``(C, 1, kh, kw)``, odd.
        bias: ``(C,)``.

    Returns:
        ``(B, rows - k + 1, C)`` or ``(B, rows - kh + 1, W, C)``.
    """
    if x.dim() == 3:  # as a row of pixels: only 2-D convolutions have a form with channels last
        y = F.conv2d(x.unsqueeze(1).permute(0, 3, 1, 2), weight.unsqueeze(2), bias, groups=x.shape[-1])
        return y.permute(0, 2, 3, 1).squeeze(1)
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=(0, weight.shape[3] // 2), groups=x.shape[-1])
    return y.permute(0, 2, 3, 1)


def _uses_custom_backward(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return (
        torch.is_grad_enabled()
        and takes_custom_function(x, weight, bias)
        and has_onednn()
        and autocast_dtype(x) is None
        and x.device.type == 'cpu'
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
    )


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=_padding(weight), groups=x.shape[1])


def _padding(weight: Tensor) -> tuple[int, int]:
    return weight.shape[2] // 2, weight.shape[3] // 2


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _conv(x, weight, bias)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return elementary_grads(_conv, (x, weight, bias), grad, ctx.needs_input_grad)
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = _conv(grad, weight.flip(2, 3), None) if ctx.needs_input_grad[0] else None
        grad_weight = None
        if ctx.needs_input_grad[1]:
            # DDP's buckets have the weight's strides, and DDP warns of a gradient with others.
            grad_weight = torch.empty_like(weight).copy_(_weight_grad(x, grad, _padding(weight)))
        grad_bias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias


def _weight_grad(x: Tensor, grad: Tensor, padding: tuple[int, int]) -> Tensor:
    """Correlate ``x`` and ``grad`` ``(B, C, H, W)`` over displacements up to ``padding``, some rows at a time."""
    if x.shape[2] == 1 < x.shape[3]:  # a sequence: its pixels are the rows
        return _weight_grad(x.transpose(2, 3), grad.transpose(2, 3), padding[::-1]).transpose(2, 3)
    channels, height, width = x.shape[1:]
    above, beside = padding
    total = x.new_zeros(1, channels, 2 * above + 1, 2 * beside + 1)
    rows = max(1, TILE // (channels * width))
    for image, gradient in zip(x.split(1), grad):
        for top in range(0, height, rows):
            kernel = gradient[:, top : top + rows].unsqueeze(1)  # (C, 1, rows, W)
            tile = _rows(image, top - above, top + kernel.shape[2] + above)
            total += F.conv2d(tile, kernel, padding=(0, beside), groups=channels)
    return total.transpose(0, 1)  # (C, 1, kh, kw)


def _rows(x: Tensor, first: int, last: int) -> Tensor:
    """Return rows ``first`` to ``last`` of ``x`` ``(1, C, H, W)``, zeros where it has none."""
    inside = x[:, :, max(first, 0) : last]
    if inside.shape[2] == last - first:
        return inside
    rows = x.new_empty(1, last - first, x.shape[3], x.shape[1]).permute(0, 3, 1, 2)  # channels last in memory
    start = max(-first, 0)
    stop = start + inside.shape[2]
    rows[:, :, :start] = 0
    rows[:, :, start:stop] = inside
    rows[:, :, stop:] = 0
    return rows
