"""The long convolution against the reference implementation: outputs and every gradient, over generated shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhyena.ops import dft, fft, long_conv, naive_long_conv, prepare_kernel, prepared_long_conv, use_backend
from mmhyena.ops.geometry import fast_fft_length

BACKENDS = ['fft', 'dft', 'direct']  # the other ones have tests of their own


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    longest = {1: 40, 2: 11, 3: 5}[axes]
    spatial = draw(st.tuples(*[st.integers(1, longest)] * axes))
    kernel = draw(st.tuples(*[st.integers(1, longest + 6)] * axes))
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return batch, channels, spatial, kernel, draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 2**16))


def make(case, device, dtype=torch.float64):
    batch, channels, spatial, kernel, with_skip, causal, seed = case
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype).to(device).requires_grad_()

    return randn(batch, channels, *spatial), randn(channels, *kernel), randn(channels) if with_skip else None, causal


@settings(max_examples=250)
@given(cases(), st.sampled_from(BACKENDS))
def test_equals_reference_with_every_gradient(device, case, backend):
    u, k, skip, causal = make(case, device)
    inputs = [x for x in (u, k, skip) if x is not None]
    want = naive_long_conv(u, k, skip, causal=causal)
    got = long_conv(u, k, skip, causal=causal, backend=backend)
    weight = torch.randn_like(want)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    for a, b in zip(torch.autograd.grad(got, inputs, weight), torch.autograd.grad(want, inputs, weight)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@st.composite
def sequences(draw):
    pixels, taps = draw(st.integers(3, 60)), draw(st.integers(1, 130))
    return 2, 3, (pixels,), (taps,), draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 2**16))


@settings(max_examples=80)
@given(sequences())
def test_sequences_in_two_steps_equal_reference(device, case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dft, 'TWO_STEPS_FROM', 4)
        u, k, skip, causal = make(case, device)
        prepared = prepare_kernel(k, skip, u.shape[2:], causal=causal, dtype=torch.float64, backend='dft')
        assert prepared.data.shape[2] > 1 or u.shape[2] < 16  # a second step
        inputs = [x for x in (u, k, skip) if x is not None]
        want, got = naive_long_conv(u, k, skip, causal=causal), long_conv(u, k, skip, causal=causal, backend='dft')
        weight = torch.randn_like(want)
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(prepared_long_conv(u.detach(), prepared), want.detach(), rtol=1e-9, atol=1e-9)
        for a, b in zip(torch.autograd.grad(got, inputs, weight), torch.autograd.grad(want, inputs, weight)):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@settings(max_examples=120)
@given(cases(), st.sampled_from(BACKENDS))
def test_prepared_kernel_equals_reference(device, case, backend):
    u, k, skip, causal = make(case, device)
    prepared = prepare_kernel(k, skip, u.shape[2:], causal=causal, dtype=torch.float64, backend=backend)
    want = naive_long_conv(u, k, skip, causal=causal)
    with torch.no_grad():
        torch.testing.assert_close(prepared_long_conv(u, prepared), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('spatial,kernel', [((7,), (4,)), ((3, 5), (9, 2)), ((2, 3, 2), (3, 4, 1))])
@pytest.mark.usefixtures('on_device')
def test_gradcheck(spatial, kernel, causal):
    u = torch.randn(2, 2, *spatial, dtype=torch.float64, requires_grad=True)
    k = torch.randn(2, *kernel, dtype=torch.float64, requires_grad=True)
    skip = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: long_conv(*x, causal=causal), (u, k, skip))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.usefixtures('on_device')
def test_half_precision_computes_in_float32(dtype, backend):
    u = (torch.randn(2, 3, 9, 12) * 100).to(dtype)  # squares of the sums overflow float16
    k, skip = torch.randn(3, 17, 23) * 100, torch.randn(3)
    want = naive_long_conv(u.double(), k.double(), skip.double())
    got = long_conv(u, k, skip, backend=backend)
    assert got.dtype == dtype
    torch.testing.assert_close(got, want.to(dtype), rtol=2e-2 if dtype == torch.bfloat16 else 2e-3, atol=1.0)


@pytest.mark.usefixtures('on_device')
def test_autocast_leaves_the_result_in_float32(device):
    u, k = torch.randn(1, 2, 8, 8), torch.randn(2, 15, 15)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        got = long_conv(u, k)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, naive_long_conv(u, k), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures('on_device')
def test_float32_error_is_small_at_full_size():
    u, k = torch.randn(1, 4, 56, 56), torch.randn(4, 111, 111) / 100
    got, want = long_conv(u, k), long_conv(u.double(), k.double())
    assert (got - want).norm() / want.norm() < 1e-6


@pytest.mark.usefixtures('on_device')
def test_strided_input_and_empty_batch():
    u, k = torch.randn(2, 5, 6, 3).permute(0, 3, 1, 2), torch.randn(3, 5, 5)
    torch.testing.assert_close(long_conv(u, k), naive_long_conv(u, k), rtol=1e-4, atol=1e-4)
    empty = torch.randn(0, 3, 5, 6, requires_grad=True)
    y = long_conv(empty, k.requires_grad_())
    assert y.shape == empty.shape
    y.sum().backward()
    assert empty.grad.shape == empty.shape and torch.count_nonzero(k.grad) == 0


@pytest.mark.parametrize(
    'u,k,skip,error',
    [
        ((1, 2), (2, 3), None, 'spatial axes'),
        ((1, 2, 3, 3), (3, 3, 3), None, 'one kernel per channel'),
        ((1, 2, 3, 3), (2, 3), None, 'one kernel per channel'),
        ((1, 2, 3, 3), (2, 3, 3), (3,), 'skip'),
        ((1, 2, 0, 3), (2, 3, 3), None, 'at least one'),
    ],
)
def test_misfits_are_named(u, k, skip, error):
    with pytest.raises(ValueError, match=error):
        long_conv(torch.zeros(u), torch.zeros(k), None if skip is None else torch.zeros(skip))


def test_integer_map_and_wrong_prepared_size_are_errors():
    with pytest.raises(TypeError, match='floating point'):
        long_conv(torch.zeros(1, 1, 4, dtype=torch.long), torch.zeros(1, 3))
    prepared = prepare_kernel(torch.zeros(1, 3), None, (4,))
    with pytest.raises(ValueError, match='prepared for maps of'):
        prepared_long_conv(torch.zeros(1, 1, 5), prepared)


@pytest.mark.parametrize('spatial', [(6,), (6, 7), (3, 4, 5)])
def test_kernels_are_prepared_in_tiles_and_left_as_they_are(spatial, monkeypatch):
    kernel, skip = torch.randn(40, *spatial), torch.randn(40)
    before, whole = kernel.clone(), prepare_kernel(kernel, skip, spatial, backend='fft').data
    assert torch.equal(kernel, before)
    monkeypatch.setattr(fft, 'CPU_TILE', 1)
    assert len(list(fft._channel_tiles(1, 40, spatial, kernel.device))) > 1
    torch.testing.assert_close(prepare_kernel(kernel, skip, spatial, backend='fft').data, whole)


def test_backend_by_argument_and_by_surroundings():
    u, k = torch.randn(1, 2, 6, 6), torch.randn(2, 11, 11)
    with pytest.raises(ValueError, match="'fast' is unknown; choose one of fft, dft, direct, triton, subq"):
        long_conv(u, k, backend='fast')
    with pytest.raises(ValueError, match='choose one of'), use_backend('fast'):
        pass
    with use_backend('dft'):
        assert prepare_kernel(k, None, (6, 6)).backend == 'dft'
        assert prepare_kernel(k, None, (6, 6), backend='fft').backend == 'fft'


@pytest.mark.parametrize('device_type', ['cpu', 'cuda'])
@pytest.mark.parametrize('minimum', range(1, 600, 7))
def test_fast_lengths_are_long_enough_and_smooth(minimum, device_type):
    length = fast_fft_length(minimum, device_type)
    assert minimum <= length <= 2 * max(2, minimum)
    assert 210**10 % length == 0
