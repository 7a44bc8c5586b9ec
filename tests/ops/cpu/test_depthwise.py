"""The short depthwise convolution: forward and every gradient against the sum over shifted maps."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from mmhyena.ops import depthwise_conv, naive_depthwise_conv
from mmhyena.ops.cpu import depthwise

MAPS = ((1, 1), (1, 7), (5, 1), (3, 2), (9, 14), (17, 16))
KERNELS = ((1, 1), (3, 3), (5, 5), (7, 3), (1, 3), (3, 1))


def make(batch: int, channels: int, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x = torch.randn(batch, channels, *size).contiguous(memory_format=torch.channels_last)
    return x, torch.randn(channels, 1, *kernel), torch.randn(channels)


def gradients(function, tensors: tuple[Tensor, ...], direction: Tensor) -> tuple[Tensor, ...]:
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    y = function(*leaves)
    return (y, *torch.autograd.grad((y * direction).sum(), leaves))


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize(('size', 'kernel'), itertools.product(MAPS, KERNELS))
def test_equals_the_definition(batch, size, kernel):
    tensors = make(batch, 6, size, kernel)
    direction = torch.randn_like(tensors[0])
    doubles = tuple(t.double() for t in tensors)
    expected = gradients(naive_depthwise_conv, doubles, direction.double())
    for got, want in zip(gradients(depthwise_conv, tensors, direction), expected):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('band', [1, 200, 2**19])
def test_bands_change_nothing(band, monkeypatch):
    monkeypatch.setattr(depthwise, 'BAND', band)
    tensors = make(2, 4, (13, 9), (5, 5))
    direction = torch.randn_like(tensors[0])
    expected = gradients(naive_depthwise_conv, tensors, direction)
    for got, want in zip(gradients(depthwise_conv, tensors, direction), expected):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('frozen', [0, 1, 2])
def test_no_gradient_where_none_is_asked_for(frozen):
    tensors = [t.requires_grad_(i != frozen) for i, t in enumerate(make(1, 4, (6, 5), (3, 3)))]
    depthwise_conv(*tensors).sum().backward()
    assert [t.grad is None for t in tensors] == [i == frozen for i in range(3)]


def test_without_bias():
    x, weight, _ = make(1, 4, (6, 5), (3, 3))
    torch.testing.assert_close(depthwise_conv(x, weight), naive_depthwise_conv(x, weight), rtol=1e-4, atol=1e-5)
    x.requires_grad_()
    depthwise_conv(x, weight).sum().backward()
    assert x.grad is not None


def test_half_precision_and_autocast_take_the_library():
    x, weight, bias = make(1, 4, (6, 5), (3, 3))
    expected = naive_depthwise_conv(x, weight, bias)
    weight.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = depthwise_conv(x, weight, bias)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    double = depthwise_conv(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(double.float(), expected, rtol=1e-4, atol=1e-5)
