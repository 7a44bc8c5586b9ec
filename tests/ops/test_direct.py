"""The direct convolution: narrow and wide kernels, one-sided ones, copies and traces of prepared kernels."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from mmhyena.ops import naive_long_conv, prepare_kernel, prepared_long_conv

pytestmark = pytest.mark.usefixtures('on_device')

CASES = [
    # map, kernel, causal
    ((14, 14), (27, 27), False),
    ((9, 17), (17, 33), False),
    ((16, 3), (20, 5), False),
    ((15, 15), (14, 15), True),
    ((20, 20), (15, 41), True),
    ((25, 12), (13, 13), False),
]


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('spatial, taps, causal', CASES)
def test_equals_reference_at_every_batch(spatial, taps, causal, batch):
    k, skip = torch.randn(19, *taps) / 9, torch.randn(19)
    kernel = prepare_kernel(k, skip, spatial, causal=causal, backend='direct')
    u = torch.randn(batch, 19, *spatial)
    want = naive_long_conv(u, k, skip, causal=causal)
    torch.testing.assert_close(prepared_long_conv(u, kernel), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('backend', ['fft', 'dft', 'direct'])
@pytest.mark.parametrize('copied', [copy.deepcopy, lambda kernel: pickle.loads(pickle.dumps(kernel))])
def test_a_prepared_kernel_can_be_copied(copied, backend):
    kernel = prepare_kernel(torch.randn(3, 27, 27), None, (14, 14), backend=backend)
    u = torch.randn(1, 3, 14, 14)
    torch.testing.assert_close(prepared_long_conv(u, copied(kernel)), prepared_long_conv(u, kernel), rtol=0, atol=0)


@pytest.mark.parametrize('backend', ['fft', 'dft', 'direct'])
def test_a_prepared_kernel_can_be_traced(backend):
    kernel = prepare_kernel(torch.randn(3, 27, 27), None, (14, 14), backend=backend)
    u = torch.randn(1, 3, 14, 14)
    traced = torch.jit.trace(lambda x: prepared_long_conv(x, kernel), u)
    torch.testing.assert_close(traced(u), prepared_long_conv(u, kernel), rtol=1e-4, atol=1e-4)
