"""The channel MLP in one piece against its elementary steps."""

import pytest
import torch
import torch.nn.functional as F

from mmhyena.ops import linear, norm_mlp_residual, star_relu, star_relu_mlp


def plain_mlp(x, fc1, fc2, scale, bias):
    return F.linear(scale * F.relu(F.linear(x, fc1)).square() + bias, fc2)


def weights(channels=6, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = [(4 * channels, channels), (channels, 4 * channels)]
    fc1, fc2 = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)
    return fc1, fc2, *(torch.tensor([v], dtype=dtype, requires_grad=True) for v in (0.9, -0.4))


@pytest.mark.parametrize('shape', [(3, 5, 7, 6), (1, 6), (0, 6), (300, 6)])
def test_equals_the_elementary_steps_with_every_gradient(shape, monkeypatch):
    for name in ('TILE', 'KEPT_TILE'):
        monkeypatch.setattr(f'mmhyena.ops.cpu.mlp.{name}', 24 * 128)  # 300 rows are three tiles
    args = torch.randn(shape, dtype=torch.float64, requires_grad=True), *weights()
    got, want = star_relu_mlp(*args), plain_mlp(*args)
    torch.testing.assert_close(got, want)
    grad = torch.randn(shape, dtype=torch.float64)
    for a, b in zip(torch.autograd.grad(got, args, grad), torch.autograd.grad(want, args, grad)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('rows', [5, 20, 200, 3000])
@pytest.mark.parametrize('scaled', [False, True])
def test_norm_mlp_residual(rows, scaled):
    x, args, norm = torch.randn(2, rows, 6), [w.detach() for w in weights(dtype=torch.float32)], torch.randn(6)
    res_scale = torch.randn(6) if scaled else None
    want = x * (res_scale if scaled else 1) + plain_mlp(F.layer_norm(x, (6,), norm, None, 1e-6), *args)
    before = x.clone()
    with torch.no_grad():
        got = norm_mlp_residual(x, norm, 1e-6, *args, res_scale=res_scale)
        assert torch.equal(x, before)
        assert norm_mlp_residual(x, norm, 1e-6, *args, res_scale=res_scale, out=x) is x
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert torch.equal(x, got)


def test_star_relu():
    x, (_, _, scale, bias) = torch.randn(4, 9, dtype=torch.float64, requires_grad=True), weights()
    torch.testing.assert_close(star_relu(x, scale, bias), scale * x.relu().square() + bias)
    assert torch.autograd.gradcheck(star_relu, (x, scale, bias))
    before = x.detach().clone()
    with torch.no_grad():
        star_relu(x, scale, bias)
    assert torch.equal(x, before)


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('rows', [(3,), (5, 8), (500,), (2, 0)])
@pytest.mark.parametrize('width', [12, 30])
def test_linear_with_and_without_gradient(rows, width, bias):
    x, w = torch.randn(*rows, 20), torch.randn(width, 20, requires_grad=True)
    b = torch.randn(width) if bias else None
    want = F.linear(x, w, b)
    torch.testing.assert_close(linear(x, w, b), want)
    assert linear(x, w, b).requires_grad
    with torch.no_grad():
        torch.testing.assert_close(linear(x, w, b), want, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(linear(x[..., ::2], w[:, ::2], b), F.linear(x[..., ::2], w[:, ::2], b))


def test_weights_are_read_as_they_are():
    x, w = torch.randn(500, 20), torch.randn(30, 20)
    with torch.no_grad():
        linear(x, w)
        w.data[0, 0] += 1
        torch.testing.assert_close(linear(x, w), F.linear(x, w), rtol=1e-4, atol=1e-4)


def test_autocast():
    args = torch.randn(40, 6, requires_grad=True), *weights(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got, want = star_relu_mlp(*args), plain_mlp(*args)
    assert got.dtype == torch.bfloat16
    assert (got - want).norm() < 0.02 * want.norm()
    grads = [torch.autograd.grad(y.float().sum(), args) for y in (got, want)]
    for a, b in zip(*grads):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.05 * b.norm()
