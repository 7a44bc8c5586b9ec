"""The short depthwise convolution: forward and every gradient against the sum over shifted inputs."""

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
@pytest.mark.parametrize(('size', 'kernel'), list(itertools.product(MAPS, KERNELS)))
def test_equals_the_definition(batch, size, kernel):
    tensors = make(batch, 6, size, kernel)
    direction = torch.randn_like(tensors[0])
    doubles = tuple(t.double() for t in tensors)
    expected = gradients(naive_depthwise_conv, doubles, direction.double())
    for got, want in zip(gradients(depthwise_conv, tensors, direction), expected):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('tile', [1, 200, 2**19])
def test_tiles_change_nothing(tile, monkeypatch):
    monkeypatch.setattr(depthwise, 'TILE', tile)
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


def test_other_types_and_autocast():
    x, weight, bias = make(1, 4, (6, 5), (3, 3))
    expected = naive_depthwise_conv(x, weight, bias)
    weight.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = depthwise_conv(x, weight, bias)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    double = depthwise_conv(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(double.float(), expected, rtol=1e-4, atol=1e-5)


def test_gradients_can_be_differentiated_again():
    tensors = [t.requires_grad_() for t in make(2, 3, (4, 5), (3, 3))]
    doubles = [t.detach().double().requires_grad_() for t in tensors]
    twice = []
    for function, inputs in ((depthwise_conv, tensors), (naive_depthwise_conv, doubles)):
        y = function(*inputs)
        grads = torch.autograd.grad(y.pow(3).sum(), inputs, create_graph=True)
        twice.append(torch.autograd.grad(sum(g.square().sum() for g in grads), inputs))
    for got, want in zip(*twice):
        torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-3)


def test_torch_func_fake_and_meta_tensors():
    x, *args = make(3, 4, (6, 5), (3, 3))

    def loss(x, *args):
        return depthwise_conv(x, *args).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss, argnums=1), in_dims=(0, None, None))(x[:, None], *args)
    leaves = [t.clone().requires_grad_() for t in (x, *args)]
    torch.testing.assert_close(per_sample.sum(0), torch.autograd.grad(loss(*leaves), leaves[1])[0])
    assert depthwise_conv(*(t.to('meta').requires_grad_() for t in (x, *args))).shape == x.shape
    with torch._subclasses.fake_tensor.FakeTensorMode() as mode:
        y = depthwise_conv(*(mode.from_tensor(t) for t in leaves))
        y.sum().backward()
        assert y.shape == x.shape
