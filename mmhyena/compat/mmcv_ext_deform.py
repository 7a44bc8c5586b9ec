"""Deformable operators of ``mmcv._ext`` on torch and torchvision.

Multi-scale deformable attention (Zhu et al. 2020, arXiv 2010.04159) samples by :func:`torch.nn.functional.grid_sample`,
deformable convolution (arXiv 1703.06211) and its modulated form (arXiv 1811.11168) are torchvision's. Gradients come
from autograd: each backward operator runs its forward again. Dtypes other than fp32 and fp64 are computed in fp32.

The calling convention is mmcv's: ``mmcv.ops`` allocates outputs and gradients, the operators fill them in place, and
buffers that only the compiled kernels need stay untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from mmhyena.compat.mmcv_ext_roi import compute_dtype

__all__ = [
    'ms_deform_attn_forward',
    'ms_deform_attn_backward',
    'deform_conv_forward',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'modulated_deform_conv_forward',
    'modulated_deform_conv_backward',
]


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted sums of bilinear samples of feature maps of several levels.

    Args:
        value: Features of all levels, flattened and concatenated, (B, sum of H * W, heads, C).
        spatial_shapes: H and W of every level, int64, (levels, 2).
        level_start_index: Where each level starts in ``value``, int64, (levels,).
        sampling_loc: x and y from 0 to 1, edge to edge, (B, queries, heads, levels, points, 2).
        attn_weight: (B, queries, heads, levels, points).
        im2col_step: Unused.

    Returns:
        (B, queries, heads * C). Outside of its map a feature is zero.
    """
    dtype = compute_dtype(value.dtype)
    arguments = (value.to(dtype), sampling_loc.to(dtype), attn_weight.to(dtype))
    return _attend(*arguments, spatial_shapes.tolist(), level_start_index.tolist()).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of :func:`ms_deform_attn_forward` by ``value``, ``sampling_loc`` and ``attn_weight``.

    Args:
        value: As in the forward operator, and so the other inputs.
        spatial_shapes: (levels, 2).
        level_start_index: (levels,).
        sampling_loc: (B, queries, heads, levels, points, 2).
        attn_weight: (B, queries, heads, levels, points).
        grad_output: (B, queries, heads * C).
        grad_value: Output of the shape of ``value``.
        grad_sampling_loc: Output of the shape of ``sampling_loc``.
        grad_attn_weight: Output of the shape of ``attn_weight``.
        im2col_step: Unused.
    """
    shapes, starts = spatial_shapes.tolist(), level_start_index.tolist()
    _write_gradients(
        lambda features, locations, weights: _attend(features, locations, weights, shapes, starts),
        (value, sampling_loc, attn_weight),
        grad_output,
        (grad_value, grad_sampling_loc, grad_attn_weight),
    )


def _attend(
    value: Tensor, sampling_loc: Tensor, attn_weight: Tensor, shapes: list[list[int]], starts: list[int]
) -> Tensor:
    batch, _, heads, channels = value.shape
    queries, points = sampling_loc.shape[1], sampling_loc.shape[4]
    grids = (2 * sampling_loc - 1).transpose(1, 2).flatten(0, 1)  # (B * heads, queries, levels, points, 2)
    weights = attn_weight.transpose(1, 2).flatten(0, 1)[:, None]  # (B * heads, 1, queries, levels, points)
    output = value.new_zeros(batch * heads, channels, queries)
    for level, ((height, width), start) in enumerate(zip(shapes, starts)):
        feature_map = value[:, start : start + height * width].permute(0, 2, 3, 1)  # (B, heads, C, H * W)
        feature_map = feature_map.reshape(batch * heads, channels, height, width)
        grid = grids[:, :, level].reshape(batch * heads, queries, points, 2)
        samples = F.grid_sample(feature_map, grid, align_corners=False)  # (B * heads, C, queries, points)
        output = output + (samples * weights[:, :, :, level]).sum(-1)
    return output.view(batch, heads * channels, queries).transpose(1, 2).contiguous()


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Deformable convolution without bias, written to ``output``.

    Args:
        input: (B, C_in, H, W).
        weight: (C_out, C_in / group, kH, kW).
        offset: y and x per deformable group and kernel position, (B, 2 * deformable_group * kH * kW, H_out, W_out).
        output: (B, C_out, H_out, W_out).
        columns: Unused buffer.
        ones: Unused buffer.
        kW: Width of the kernel; the size is that of ``weight``.
        kH: Height of the kernel.
        dW: Horizontal stride.
        dH: Vertical stride.
        padW: Horizontal zero-padding.
        padH: Vertical zero-padding.
        dilationW: Horizontal dilation.
        dilationH: Vertical dilation.
        group: Groups of channels; implied by the shapes.
        deformable_group: Groups of channels with offsets of their own; implied by the shapes.
        im2col_step: Unused.
    """
    dtype = compute_dtype(input.dtype)
    geometry = ((dH, dW), (padH, padW), (dilationH, dilationW))
    output.copy_(_convolve(input.to(dtype), offset.to(dtype), weight.to(dtype), None, None, geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the gradients of :func:`deform_conv_forward` by input and offset to ``gradInput`` and ``gradOffset``.

    The other arguments are those of the forward operator; ``gradOutput`` has the shape of its output.
    """
    geometry = ((dH, dW), (padH, padW), (dilationH, dilationW))
    fixed = weight.to(compute_dtype(input.dtype))
    _write_gradients(
        lambda x, shift: _convolve(x, shift, fixed, None, None, geometry),
        (input, offset),
        gradOutput,
        (gradInput, gradOffset),
    )


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the gradient of :func:`deform_conv_forward` by the weight to ``gradWeight``.

    The other arguments are those of the forward operator; ``gradOutput`` has the shape of its output.
    """
    dtype = compute_dtype(input.dtype)
    geometry = ((dH, dW), (padH, padW), (dilationH, dilationW))
    x, shift = input.to(dtype), offset.to(dtype)
    grad = torch.empty_like(gradWeight, dtype=dtype)
    # The convolution is linear in the weight: its value does not matter, only its shape.
    _write_gradients(
        lambda weight: _convolve(x, shift, weight, None, None, geometry), (torch.zeros_like(grad),), gradOutput, (grad,)
    )
    gradWeight.add_(grad.to(gradWeight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Deformable convolution with a factor per sample, written to ``output``.

    Args:
        input: (B, C_in, H, W).
        weight: (C_out, C_in / group, kernel_h, kernel_w).
        bias: (C_out,), used if ``with_bias``.
        ones: Unused buffer.
        offset: y and x per deformable group and kernel position, (B, 2 * deformable_group * K, H_out, W_out) for K
            kernel positions.
        mask: Factor of each sample, (B, deformable_group * K, H_out, W_out).
        output: (B, C_out, H_out, W_out).
        columns: Unused buffer.
        kernel_h: Height of the kernel; the size is that of ``weight``.
        kernel_w: Width of the kernel.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Vertical zero-padding.
        pad_w: Horizontal zero-padding.
        dilation_h: Vertical dilation.
        dilation_w: Horizontal dilation.
        group: Groups of channels; implied by the shapes.
        deformable_group: Groups of channels with offsets of their own; implied by the shapes.
        with_bias: Whether to add ``bias``.
    """
    dtype = compute_dtype(input.dtype)
    geometry = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    x, shift, factor, kernel = (tensor.to(dtype) for tensor in (input, offset, mask, weight))
    output.copy_(_convolve(x, shift, kernel, factor, bias.to(dtype) if with_bias else None, geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the gradients of :func:`modulated_deform_conv_forward` to the five tensors called ``grad_*``.

    The other arguments are those of the forward operator; ``grad_output`` has the shape of its output. Without bias,
    ``grad_bias`` stays untouched.
    """
    geometry = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    inputs = [input, offset, weight, mask]
    gradients = [grad_input, grad_offset, grad_weight, grad_mask]
    if with_bias:
        inputs.append(bias)
        gradients.append(grad_bias)

    def convolve(x: Tensor, shift: Tensor, kernel: Tensor, factor: Tensor, added: Tensor | None = None) -> Tensor:
        return _convolve(x, shift, kernel, factor, added, geometry)

    _write_gradients(convolve, inputs, grad_output, gradients)


def _convolve(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
) -> Tensor:
    stride, padding, dilation = geometry
    return torchvision.ops.deform_conv2d(input, offset, weight, bias, stride, padding, dilation, mask)


def _write_gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor, gradients: Sequence[Tensor]
) -> None:
    """Write the gradients of ``function(*inputs)`` by all of its inputs to ``gradients``."""
    dtype = compute_dtype(inputs[0].dtype)
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in inputs]
    with torch.enable_grad():
        output = function(*leaves)
    for target, grad in zip(gradients, torch.autograd.grad(output, leaves, grad_output.to(dtype))):
        target.copy_(grad)
