"""The long convolution under the transforms of ``torch.func``, against the same transforms of the reference."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.func import grad, jacrev, jvp, vmap

from mmhyena.ops import long_conv, naive_long_conv

pytestmark = pytest.mark.usefixtures('on_device')

BACKENDS = ['fft', 'dft', 'direct']
CASES = [
    # map, kernel, causal
    ((9,), (12,), False),
    ((5, 7), (9, 4), False),
    ((5, 4), (3, 6), True),
    ((3, 2, 4), (2, 5, 3), False),
]
BATCH, CHANNELS = 3, 2


def make(size, taps, *lead):
    """Return a map, a kernel and a skip with leading dimensions."""
    torch.manual_seed(0)
    shapes = (BATCH, CHANNELS, *size), (CHANNELS, *taps), (CHANNELS,)
    return [torch.randn(*lead, *shape, dtype=torch.float64) for shape in shapes]


def losses(causal, backend):
    """Return the loss of map, kernel and skip by a backend, and by the reference implementation."""

    def loss(convolve, u, k, skip):
        return convolve(u, k, skip, causal=causal).sin().sum()

    return partial(loss, partial(long_conv, backend=backend)), partial(loss, naive_long_conv)


def assert_equal(got, want):
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('size, taps, causal', CASES)
def test_grad(size, taps, causal, backend):
    loss, naive = losses(causal, backend)
    inputs = make(size, taps)
    leaves = [t.clone().requires_grad_() for t in inputs]
    assert_equal(grad(loss, argnums=(0, 1, 2))(*inputs), torch.autograd.grad(naive(*leaves), leaves))


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('in_dims', [(0, None, None), (None, 0, 0), (0, 0, 0), (None, 0, None)])
@pytest.mark.parametrize('size, taps, causal', CASES)
def test_vmap_of_grad(size, taps, causal, in_dims, backend):
    """Gradients per sample, per model of an ensemble, and both."""
    loss, naive = losses(causal, backend)
    several, one = make(size, taps, 4), make(size, taps)
    inputs = [one[i] if dim is None else several[i] for i, dim in enumerate(in_dims)]
    got = vmap(grad(loss, argnums=(0, 1, 2)), in_dims)(*inputs)
    for n in range(4):
        leaves = [(t if dim is None else t[n]).clone().requires_grad_() for t, dim in zip(inputs, in_dims)]
        assert_equal([g[n] for g in got], torch.autograd.grad(naive(*leaves), leaves))


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('size, taps, causal', CASES)
def test_jacrev(size, taps, causal, backend):
    u, k, skip = make(size, taps)
    got = jacrev(lambda *x: long_conv(*x, causal=causal, backend=backend), argnums=(1, 2))(u, k, skip)
    assert_equal(got, jacrev(lambda *x: naive_long_conv(*x, causal=causal), argnums=(1, 2))(u, k, skip))


def twice(loss, u, k, skip):
    """Return the gradient of the norm of the kernel's gradient."""
    return grad(lambda kernel: grad(loss, argnums=1)(u, kernel, skip).square().sum())(k)


@pytest.mark.parametrize('backend', BACKENDS)
def test_second_derivative_or_an_error_that_names_the_alternative(backend):
    loss, naive = losses(False, backend)
    inputs = make((5, 7), (9, 4))
    if backend == 'fft':
        with pytest.raises(RuntimeError, match=r"no second derivative; use mmhyena\.ops\.use_backend\('dft'\)"):
            twice(loss, *inputs)
    else:
        torch.testing.assert_close(twice(loss, *inputs), twice(naive, *inputs))


@pytest.mark.parametrize('backend', BACKENDS)
def test_forward_mode_or_an_error_that_names_the_alternative(backend):
    inputs = tuple(make((5, 7), (9, 4)))
    if backend == 'direct':
        got = jvp(partial(long_conv, backend=backend), inputs, inputs)
        assert_equal(got, jvp(naive_long_conv, inputs, inputs))
    else:
        with pytest.raises(NotImplementedError, match=r"no forward-mode derivative; use .*'direct'"):
            jvp(partial(long_conv, backend=backend), inputs, inputs)
