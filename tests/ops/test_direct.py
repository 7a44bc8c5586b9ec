"""The sum as a depthwise convolution of oneDNN: weights moved into its layout beforehand."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from mmhyena.ops import naive_long_conv, pack_kernel, prepare_kernel, prepared_long_conv
from mmhyena.ops.direct import CHANNELS_FIRST_TAPS

CASES = [
    # map, kernel, causal
    ((14, 14), (27, 27), False),
    ((9, 17), (17, 33), False),
    ((16, 3), (20, 5), False),
    ((15, 15), (14, 15), True),
    ((20, 20), (15, 41), True),
]


def prepared_case(spatial, taps, causal, dtype=torch.float32, channels=19):
    k = torch.randn(channels, *taps, dtype=dtype) / 9
    skip = torch.randn(channels, dtype=dtype)
    kernel = prepare_kernel(k, skip, spatial, causal=causal, dtype=dtype, backend='direct')
    return k, skip, pack_kernel(kernel)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason='torch without oneDNN')
@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('spatial, taps, causal', CASES)
def test_a_packed_kernel_gives_the_definition_at_every_batch(spatial, taps, causal, batch):
    k, skip, kernel = prepared_case(spatial, taps, causal)
    assert kernel.spectrum.is_mkldnn
    u = torch.randn(batch, 19, *spatial)
    with torch.no_grad():
        y = prepared_long_conv(u, kernel)
    torch.testing.assert_close(y, naive_long_conv(u, k, skip, causal=causal), rtol=1e-4, atol=1e-4)


def test_what_onednn_does_not_serve_is_not_packed():
    taps = CHANNELS_FIRST_TAPS + 2
    assert not prepared_case((8, 8), (taps, taps), False, torch.float64)[2].spectrum.is_mkldnn
    assert not prepared_case((40,), (taps,), False)[2].spectrum.is_mkldnn
    assert not prepared_case((7, 7), (13, 13), False)[2].spectrum.is_mkldnn
    with torch.backends.mkldnn.flags(enabled=False):
        assert not prepared_case((8, 8), (taps, taps), False)[2].spectrum.is_mkldnn


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda kernel: pickle.loads(pickle.dumps(kernel))])
def test_a_kernel_is_not_packed_unasked_and_can_be_copied(copied):
    kernel = prepare_kernel(torch.randn(3, 27, 27), None, (14, 14), backend='direct')
    u = torch.randn(1, 3, 14, 14)
    torch.testing.assert_close(prepared_long_conv(u, copied(kernel)), prepared_long_conv(u, kernel), rtol=0, atol=0)


def test_a_kernel_that_is_not_packed_can_be_traced():
    kernel = prepare_kernel(torch.randn(3, 27, 27), None, (14, 14), backend='direct')
    u = torch.randn(1, 3, 14, 14)
    traced = torch.jit.trace(lambda x: prepared_long_conv(x, kernel), u)
    torch.testing.assert_close(traced(u), prepared_long_conv(u, kernel), rtol=0, atol=0)
