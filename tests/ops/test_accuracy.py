"""Rounding of every backend in float32 against the same sum in float64, at the sizes that backbones use."""

import pytest
import torch

from mmhyena.ops import long_conv

pytestmark = pytest.mark.usefixtures('on_device')

BACKENDS = ['fft', 'dft', 'direct']

# Measured: 4e-7 at most (docs/performance.md); a wrong scale or a lost tap is beyond 1e-3.
LIMIT = 1e-6


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(
    'spatial,kernel', [((56, 56), (111, 111)), ((14, 14), (27, 27)), ((25, 42), (27, 27)), ((3136,), (6271,))]
)
def test_error_against_float64(spatial, kernel, backend, add_row):
    if backend == 'direct' and max(kernel) > 100:
        # The sum over 111 x 111 taps takes seconds, and rounds more often.
        spatial, kernel = ((20, 20), (39, 39)) if len(spatial) == 2 else ((400,), (799,))
    torch.manual_seed(0)
    u, k = torch.randn(1, 4, *spatial), torch.randn(4, *kernel) / kernel[0]
    want = long_conv(u.double(), k.double(), backend='fft')
    error = float((long_conv(u, k, backend=backend) - want).norm() / want.norm())
    add_row('Error against float64', backend=backend, map=spatial, kernel=kernel, error=error)
    assert error < LIMIT


@pytest.mark.parametrize('backend', BACKENDS)
def test_gradient_error_against_float64(backend):
    torch.manual_seed(0)
    u, k = torch.randn(2, 4, 24, 18), torch.randn(4, 27, 27) / 27
    grads = []
    for dtype in (torch.float32, torch.float64):
        leaves = [t.to(dtype).requires_grad_() for t in (u, k)]
        y = long_conv(*leaves, backend=backend if dtype == torch.float32 else 'fft')
        grads.append(torch.autograd.grad(y.square().sum(), leaves))
    for got, want in zip(*grads):
        assert (got - want).norm() < 2 * LIMIT * want.norm()
