"""The channel MLP as one operator against its definition."""

import pytest
import torch
import torch.nn.functional as F

from mmhyena.ops import (
    linear,
    naive_star_relu_mlp,
    norm_mlp_residual,
    pack_weight,
    star_relu,
    star_relu_mlp,
    store_by_columns_,
)
from mmhyena.ops.cpu import mlp


def weights(channels=6, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = [(4 * channels, channels), (channels, 4 * channels)]
    fc1, fc2 = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)
    return fc1, fc2, *(torch.tensor([v], dtype=dtype, requires_grad=True) for v in (0.9, -0.4))


def naive_star_relu(x, scale, bias):
    return scale * x.clamp(min=0) ** 2 + bias


@pytest.fixture
def small_tiles(monkeypatch):
    for name in ('TILE', 'SAVED_TILE'):
        monkeypatch.setattr(mlp, name, 24 * 128)  # 300 rows are three tiles


@pytest.mark.usefixtures('small_tiles')
@pytest.mark.parametrize('shape', [(3, 5, 7, 6), (1, 6), (0, 6), (300, 6)])
def test_equals_the_definition_with_every_gradient(shape):
    args = torch.randn(shape, dtype=torch.float64, requires_grad=True), *weights()
    got, want = star_relu_mlp(*args), naive_star_relu_mlp(*args)
    torch.testing.assert_close(got, want)
    grad = torch.randn(shape, dtype=torch.float64)
    for a, b in zip(torch.autograd.grad(got, args, grad), torch.autograd.grad(want, args, grad)):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(star_relu_mlp(*args), want)


@pytest.mark.parametrize('frozen', range(5))
def test_frozen_inputs_get_no_gradient(frozen):
    args = torch.randn(7, 6, dtype=torch.float64, requires_grad=True), *weights()
    args[frozen].requires_grad_(False)
    star_relu_mlp(*args).square().sum().backward()
    assert [arg.grad is None for arg in args] == [i == frozen for i in range(5)]


def test_gradients_can_be_differentiated_again():
    args = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), *weights(3)
    assert torch.autograd.gradgradcheck(star_relu_mlp, args)
    x, (*_, scale, bias) = torch.randn(4, 9, dtype=torch.float64, requires_grad=True), args
    assert torch.autograd.gradgradcheck(star_relu, (x, scale, bias))


@pytest.mark.parametrize('name', ['star_relu_mlp', 'star_relu'])
def test_torch_func_fake_and_meta_tensors(name):
    function = {'star_relu_mlp': star_relu_mlp, 'star_relu': star_relu}[name]
    x, args = torch.randn(5, 6, dtype=torch.float64), [w.detach() for w in weights()]
    args = args if name == 'star_relu_mlp' else args[2:]

    def loss(x, *args):
        return function(x, *args).square().sum()

    leaves = [t.clone().requires_grad_() for t in (x, *args)]
    want = torch.autograd.grad(loss(*leaves), leaves)
    for a, b in zip(torch.func.grad(loss, argnums=tuple(range(len(leaves))))(x, *args), want):
        torch.testing.assert_close(a, b)
    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(0, *(None for _ in args)))(x[:, None], *args)
    torch.testing.assert_close(per_sample[:, 0], want[0])
    assert function(*(t.to('meta') for t in (x, *args))).shape == x.shape
    with torch._subclasses.fake_tensor.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert function(*(mode.from_tensor(t) for t in leaves)).shape == x.shape


@pytest.mark.usefixtures('small_tiles')
@pytest.mark.parametrize('rows', [5, 20, 200, 3000])
@pytest.mark.parametrize('scaled', [False, True])
@pytest.mark.parametrize('norm_bias', [False, True])
def test_norm_mlp_residual(rows, scaled, norm_bias):
    x, args, norm = torch.randn(2, rows, 6), [w.detach() for w in weights(dtype=torch.float32)], torch.randn(6)
    norm = norm, torch.randn(6) if norm_bias else None
    res_scale = torch.randn(6) if scaled else None
    want = x * (res_scale if scaled else 1) + naive_star_relu_mlp(F.layer_norm(x, (6,), *norm, 1e-6), *args)
    before = x.clone()
    with torch.no_grad():
        got = norm_mlp_residual(x, norm, 1e-6, *args, res_scale=res_scale)
        assert torch.equal(x, before)
        assert norm_mlp_residual(x, norm, 1e-6, *args, res_scale=res_scale, out=x) is x
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert torch.equal(x, got)


def test_star_relu():
    x, (_, _, scale, bias) = torch.randn(4, 9, dtype=torch.float64, requires_grad=True), weights()
    torch.testing.assert_close(star_relu(x, scale, bias), naive_star_relu(x, scale, bias))
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


def test_weights_are_read_in_place():
    x, w = torch.randn(500, 20), torch.randn(30, 20)
    with torch.no_grad():
        linear(x, w)
        w.data[0, 0] += 1
        torch.testing.assert_close(linear(x, w), F.linear(x, w), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize('shape', [(30, 20), (1, 20), (30, 1), (64, 48)])
def test_weights_stored_by_columns(shape):
    w, x, b = torch.nn.Parameter(torch.randn(shape)), torch.randn(7, shape[1]), torch.randn(shape[0])
    want, values = F.linear(x, w, b), w.clone()
    store_by_columns_(w)
    assert w.t().is_contiguous() and torch.equal(w, values)
    address = w.data_ptr()
    store_by_columns_(w)
    assert w.data_ptr() == address
    assert mlp._fits_onednn(x, w, b) == mlp.has_onednn()
    torch.testing.assert_close(linear(x, w, b), want, rtol=1e-4, atol=1e-5)
    x = torch.randn(7, 2 * shape[1])[:, ::2]
    assert not mlp._fits_onednn(x, w, b)  # feature maps have to be contiguous
    torch.testing.assert_close(linear(x, w, b), F.linear(x, values, b), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('has_onednn', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('shape', [(30, 20), (1, 20), (30, 1), (64, 48)])
def test_packed_weights(shape, dtype, has_onednn, monkeypatch):
    if not has_onednn:
        monkeypatch.setattr(mlp, 'has_onednn', lambda: False)
    w, b = torch.randn(shape).to(dtype), torch.randn(shape[0]).to(dtype)
    packed = pack_weight(w.t().contiguous().t())
    assert packed.shape == w.shape and packed.dtype == dtype
    assert packed.is_mkldnn or not mlp._fits_onednn(w, w, None)
    everywhere = torch.randn(2, 7, 2 * shape[1]).to(dtype)
    for x in (everywhere[..., : shape[1]].contiguous(), everywhere[..., ::2], everywhere[:0, :, ::2]):
        torch.testing.assert_close(linear(x, packed, b), F.linear(x, w, b), rtol=2e-2, atol=2e-2)


def elementary(x, fc1, fc2, scale, bias):
    return F.linear(scale * F.relu(F.linear(x, fc1)).square() + bias, fc2)


def relative_errors(function, args, grad, dtype):
    """Errors of the output and of every gradient under autocast, relative to float64 without."""
    exact = [arg.detach().double().requires_grad_() for arg in args]
    want = naive_star_relu_mlp(*exact)
    with torch.autocast('cpu', dtype=dtype):
        got = function(*args)
    gots = [got, *torch.autograd.grad(got, args, grad.to(got.dtype))]
    wants = [want, *torch.autograd.grad(want, exact, grad.double())]
    return [float((a.detach().double() - b.detach()).norm() / b.detach().norm()) for a, b in zip(gots, wants)]


@pytest.mark.parametrize('rows', [3136, pytest.param(50_176, marks=pytest.mark.slow)])
@pytest.mark.parametrize('mean', [0.0, 0.2, 1.0])
def test_bfloat16_is_as_accurate_as_the_elementary_operations(rows, mean, add_row):
    torch.manual_seed(0)
    channels = 64
    fc1, fc2 = (torch.randn(s) / s[1] ** 0.5 for s in ((4 * channels, channels), (channels, 4 * channels)))
    args = [torch.randn(rows, channels), fc1, fc2, torch.tensor([0.8944]), torch.tensor([-0.4472])]
    args = [arg.requires_grad_() for arg in args]
    grad = torch.randn(rows, channels) + mean
    ours, theirs = (relative_errors(f, args, grad, torch.bfloat16) for f in (star_relu_mlp, elementary))
    for name, a, b in zip(('output', 'x', 'fc1', 'fc2', 'scale', 'bias'), ours, theirs):
        add_row('bfloat16 MLP', rows=rows, mean=mean, tensor=name, error=a, elementary=b)
        assert a < 1.2 * b + 1e-4, name
