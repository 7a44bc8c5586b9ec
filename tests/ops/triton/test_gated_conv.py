"""The fused kernel in Triton's interpreter against the reference implementation, and what it falls back from."""

import os
import subprocess
import sys

import pytest
import torch

from mmhyena.ops import long_conv, naive_long_conv
from mmhyena.ops.geometry import ConvCase, geometry
from mmhyena.ops.triton.gated_conv import _has_triton, reason

CHECK = """
import torch
from mmhyena.ops import long_conv, naive_long_conv, prepare_kernel, prepared_long_conv

def check(batch, channels, spatial, kernel, gates, dtype, tolerance, last=False):
    torch.manual_seed(0)
    def make(*shape):
        return torch.randn(shape).to(dtype)
    shape = (batch, *spatial, channels) if last else (batch, channels, *spatial)
    u, pre, post = (make(*shape).movedim(-1, 1) if last else make(*shape) for _ in range(3))
    k, skip = torch.randn(channels, *kernel), torch.randn(channels)
    leaves = [u, k, skip] + [pre, post][:gates]
    for leaf in leaves:
        leaf.requires_grad_()
    pre, post = (pre if gates > 0 else None), (post if gates > 1 else None)
    kernel = prepare_kernel(k, skip, spatial, dtype=dtype, backend='triton')
    assert kernel.backend == 'triton'
    got = long_conv(u, k, skip, pre=pre, post=post, backend='triton')
    with torch.no_grad():
        torch.testing.assert_close(prepared_long_conv(u, kernel, pre=pre, post=post), got)
    assert got.dtype == dtype and got.shape == u.shape
    want = naive_long_conv((u if pre is None else u * pre).double(), k.double(), skip.double())
    want = want if post is None else want * post.double()
    weight = torch.randn(want.shape).to(dtype)
    pairs = [(got, want)]
    pairs += zip(torch.autograd.grad(got, leaves, weight), torch.autograd.grad(want, leaves, weight.double()))
    for i, (a, b) in enumerate(pairs):
        error = (a.detach().double() - b.detach().double()).norm() / b.detach().double().norm()
        assert error < tolerance, (i, float(error))

check(2, 3, (7, 7), (13, 13), 2, torch.float32, 1e-5)
check(1, 2, (5, 19), (4, 60), 1, torch.float32, 1e-5)
check(1, 1, (33, 20), (65, 39), 0, torch.float32, 1e-5)
check(2, 2, (9, 6), (3, 5), 2, torch.float32, 1e-5, last=True)
check(1, 2, (14, 14), (27, 27), 2, torch.bfloat16, 1.5e-2)
check(1, 2, (8, 8), (15, 15), 2, torch.float16, 5e-3)
print('agree')
"""


def test_equals_reference_with_every_gradient_in_the_interpreter():
    if not _has_triton():
        pytest.skip('needs Triton 3')
    # Triton reads the variable when it is imported, hence a process of its own.
    run = subprocess.run(
        [sys.executable, '-c', CHECK], env=_environment(TRITON_INTERPRET='1'), capture_output=True, text=True
    )
    assert run.stdout.strip() == 'agree', run.stderr[-2000:]


def _environment(**extra):
    return dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path), **extra)


def test_falls_back_with_the_same_result_and_a_reason(caplog, monkeypatch):
    monkeypatch.setattr('mmhyena.ops.backends._logged', set())
    u, k, skip = torch.randn(2, 3, 6, 7), torch.randn(3, 5, 5), torch.randn(3)
    pre, post = torch.randn_like(u), torch.randn_like(u)
    for _ in range(2):
        got = long_conv(u, k, skip, pre=pre, post=post, backend='triton')
        torch.testing.assert_close(got, post * naive_long_conv(pre * u, k, skip), rtol=1e-4, atol=1e-4)
    assert [r.message for r in caplog.records if 'triton' in r.message] == [
        "long convolution: backend 'triton' is not used here: it needs Triton 3 and a CUDA device"
    ]


@pytest.mark.parametrize(
    'shape,kernel,dtype,expected',
    [
        ((1, 2, 6), (5,), torch.float32, 'maps'),
        ((0, 2, 6, 6), (5, 5), torch.float32, 'non-empty'),
        ((1, 2, 6, 6), (5, 5), torch.float64, 'does not compute in torch.float64'),
        ((1, 2, 6, 6), (5, 5), torch.float32, 'Triton 3 and a CUDA device'),
        ((1, 2, 90, 6), (91, 5), torch.float32, 'at most 128 points'),
    ],
)
def test_names_what_it_cannot_do(shape, kernel, dtype, expected, monkeypatch):
    if 'points' in expected:
        monkeypatch.setattr('mmhyena.ops.triton.gated_conv._has_triton', lambda: True)
        monkeypatch.setattr('mmhyena.ops.triton.gated_conv._is_interpreted', lambda: True)
    axes = geometry(shape[2:], kernel)
    assert expected in reason(ConvCase(*shape[:2], shape[2:], axes, dtype, torch.device('cpu'), False))


def test_gate_of_another_shape_is_named():
    with pytest.raises(ValueError, match='pre must have the shape'):
        long_conv(torch.randn(1, 2, 6, 6), torch.randn(2, 5, 5), pre=torch.randn(1, 2, 6, 5))
