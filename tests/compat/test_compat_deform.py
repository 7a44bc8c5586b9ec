"""Deformable attention and convolution of the fallback against their definitions, written out sample by sample."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from mmhyena.compat import mmcv_ext_ops as ops

SHAPES = [(5, 7), (3, 2), (1, 1)]


def bilinear(feature_map: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Value of ``(C, H, W)`` at a position in pixels, zero outside; differentiable by map and position."""
    height, width = feature_map.shape[1:]
    total = feature_map.new_zeros(feature_map.shape[0])
    top, left = math.floor(y.item()), math.floor(x.item())
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < height and 0 <= column < width:
            weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
            total = total + weight * feature_map[:, row, column]
    return total


def attention(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Equation 3 of arXiv 2010.04159 after the projections."""
    batch, queries, heads, _, points = weights.shape
    rows = []
    for b, q, h in itertools.product(range(batch), range(queries), range(heads)):
        total, start = value.new_zeros(value.shape[3]), 0
        for level, (height, width) in enumerate(SHAPES):
            feature_map = value[b, start : start + height * width, h].T.reshape(-1, height, width)
            start += height * width
            for point in range(points):
                x, y = locations[b, q, h, level, point]
                total = total + weights[b, q, h, level, point] * bilinear(
                    feature_map, y * height - 0.5, x * width - 0.5
                )
        rows.append(total)
    return torch.stack(rows).view(batch, queries, -1)


@pytest.fixture
def attention_inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    value = torch.randn(2, sum(h * w for h, w in SHAPES), 2, 3, dtype=torch.float64)
    locations = torch.rand(2, 4, 2, len(SHAPES), 2, 2, dtype=torch.float64) * 1.6 - 0.3  # some outside
    weights = torch.rand(2, 4, 2, len(SHAPES), 2, dtype=torch.float64)
    return value, locations, weights


def levels() -> tuple[Tensor, Tensor]:
    shapes = torch.tensor(SHAPES)
    areas = shapes.prod(1)
    return shapes, torch.cat([areas.new_zeros(1), areas.cumsum(0)[:-1]])


def test_deformable_attention_and_its_gradients(attention_inputs):
    leaves = [tensor.requires_grad_() for tensor in attention_inputs]
    expected = attention(*leaves)
    grad_output = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, leaves, grad_output)

    value, locations, weights = (tensor.detach() for tensor in leaves)
    output = ops.ms_deform_attn_forward(value, *levels(), locations, weights, im2col_step=64)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-9, atol=1e-12)
    grads = [torch.full_like(tensor, math.nan) for tensor in (value, locations, weights)]
    ops.ms_deform_attn_backward(value, *levels(), locations, weights, grad_output, *grads, im2col_step=64)
    torch.testing.assert_close(grads, list(wanted), rtol=1e-9, atol=1e-12)


def test_deformable_attention_equals_mmcvs_own_form(attention_inputs):
    pytest.importorskip('mmcv')
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    value, locations, weights = attention_inputs
    shapes, starts = levels()
    expected = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    output = ops.ms_deform_attn_forward(value, shapes, starts, locations, weights, im2col_step=64)
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_fp32(attention_inputs, dtype):
    value, locations, weights = (tensor.to(dtype) for tensor in attention_inputs)
    output = ops.ms_deform_attn_forward(value, *levels(), locations, weights, im2col_step=64)
    assert output.dtype == dtype
    exact = ops.ms_deform_attn_forward(value.float(), *levels(), locations.float(), weights.float(), im2col_step=64)
    torch.testing.assert_close(output, exact.to(dtype))


GEOMETRIES = [  # kernel, stride, padding, dilation, groups, deformable groups
    ((3, 3), (1, 1), (1, 1), (1, 1), 1, 1),
    ((2, 3), (2, 1), (0, 2), (1, 2), 2, 1),
    ((3, 2), (1, 2), (1, 0), (2, 1), 1, 2),
]
CHANNELS, OUT, SIZE = 4, 6, (6, 5)


def convolution(x: Tensor, offset: Tensor, weight: Tensor, geometry, mask: Tensor | None = None) -> Tensor:
    """Equation 2 of arXiv 1703.06211, with the factors of equation 1 of arXiv 1811.11168."""
    kernel, stride, padding, dilation, groups, deformable = geometry
    batch, (rows, columns) = len(x), offset.shape[2:]
    taps = kernel[0] * kernel[1]
    shifts = offset.view(batch, deformable, taps, 2, rows, columns)
    factors = None if mask is None else mask.view(batch, deformable, taps, rows, columns)
    images = []
    for b, row, column in itertools.product(range(batch), range(rows), range(columns)):
        samples = []
        for tap, (i, j) in enumerate(itertools.product(range(kernel[0]), range(kernel[1]))):
            parts = []
            for group, part in enumerate(x[b].chunk(deformable)):
                dy, dx = shifts[b, group, tap, :, row, column]
                y = row * stride[0] - padding[0] + i * dilation[0] + dy
                value = bilinear(part, y, column * stride[1] - padding[1] + j * dilation[1] + dx)
                parts.append(value if factors is None else value * factors[b, group, tap, row, column])
            samples.append(torch.cat(parts))
        sampled = torch.stack(samples, dim=1).view(groups, -1, taps)  # (groups, C_in / groups, taps)
        kernels = weight.flatten(2).view(groups, -1, *weight.flatten(2).shape[1:])
        images.append(torch.einsum('goct,gct->go', kernels, sampled).flatten())
    return torch.stack(images).view(batch, rows, columns, -1).permute(0, 3, 1, 2)


def convolution_inputs(geometry) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    kernel, stride, padding, dilation, groups, deformable = geometry
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(SIZE, kernel, stride, padding, dilation)]
    taps = kernel[0] * kernel[1]
    float64 = dict(dtype=torch.float64)
    return (
        torch.randn(2, CHANNELS, *SIZE, **float64),
        2 * torch.randn(2, 2 * deformable * taps, *out, **float64),
        torch.randn(OUT, CHANNELS // groups, *kernel, **float64),
        torch.rand(2, deformable * taps, *out, **float64),
    )


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
def test_deformable_convolution_and_its_gradients(geometry):
    kernel, stride, padding, dilation, groups, deformable = geometry
    x, offset, weight, _ = convolution_inputs(geometry)
    leaves = [tensor.requires_grad_() for tensor in (x, offset, weight)]
    expected = convolution(*leaves, geometry)
    grad_output = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, leaves, grad_output)

    x, offset, weight = (tensor.detach() for tensor in leaves)
    unused = torch.empty(0)
    options = dict(
        kW=kernel[1],
        kH=kernel[0],
        dW=stride[1],
        dH=stride[0],
        padW=padding[1],
        padH=padding[0],
        dilationW=dilation[1],
        dilationH=dilation[0],
        group=groups,
        deformable_group=deformable,
        im2col_step=1,
    )
    output = torch.empty_like(grad_output)
    ops.deform_conv_forward(x, weight, offset, output, unused, unused, **options)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-9, atol=1e-11)

    grad_x, grad_offset, grad_weight = torch.empty_like(x), torch.empty_like(offset), torch.ones_like(weight)
    ops.deform_conv_backward_input(x, offset, grad_output, grad_x, grad_offset, weight, unused, **options)
    ops.deform_conv_backward_parameters(x, offset, grad_output, grad_weight, unused, unused, scale=0.5, **options)
    torch.testing.assert_close(
        [grad_x, grad_offset, grad_weight], [wanted[0], wanted[1], 1 + 0.5 * wanted[2]], rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize('with_bias', [False, True])
@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
def test_modulated_deformable_convolution_and_its_gradients(geometry, with_bias):
    kernel, stride, padding, dilation, groups, deformable = geometry
    x, offset, weight, mask = convolution_inputs(geometry)
    bias = torch.randn(OUT, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (x, offset, weight, mask, bias)]
    expected = convolution(*leaves[:3], geometry, leaves[3]) + with_bias * leaves[4][:, None, None]
    grad_output = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, leaves, grad_output)

    x, offset, weight, mask, bias = (tensor.detach() for tensor in leaves)
    unused = torch.empty(0)
    options = dict(
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        pad_h=padding[0],
        pad_w=padding[1],
        dilation_h=dilation[0],
        dilation_w=dilation[1],
        group=groups,
        deformable_group=deformable,
        with_bias=with_bias,
    )
    output = torch.empty_like(grad_output)
    ops.modulated_deform_conv_forward(x, weight, bias, unused, offset, mask, output, unused, **options)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-9, atol=1e-11)

    grads = [torch.zeros_like(tensor) for tensor in (x, weight, bias, offset, mask)]
    ops.modulated_deform_conv_backward(x, weight, bias, unused, offset, mask, unused, *grads, grad_output, **options)
    order = [wanted[0], wanted[2], wanted[4], wanted[1], wanted[3]]
    torch.testing.assert_close(grads, order, rtol=1e-9, atol=1e-11)


def test_mmcvs_layers_train_through_the_fallback():
    """``mmcv.ops`` calls the operators by its own convention; on a GPU that includes the attention."""
    mmcv_ops = pytest.importorskip('mmcv.ops')
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    for layer in (
        mmcv_ops.DeformConv2dPack(4, 6, 3, padding=1),
        mmcv_ops.ModulatedDeformConv2dPack(4, 6, 3, padding=1),
    ):
        layer(x).square().sum().backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())
        assert x.grad.abs().sum() > 0
    value, locations, weights = torch.randn(1, 6, 2, 3), torch.rand(1, 4, 2, 1, 2, 2), torch.rand(1, 4, 2, 1, 2)
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    function = mmcv_ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction
    output = function.apply(value, torch.tensor([[2, 3]]), torch.tensor([0]), locations, weights, 64)
    output.square().sum().backward()
    assert all(leaf.grad.isfinite().all() and leaf.grad.abs().sum() > 0 for leaf in leaves)
