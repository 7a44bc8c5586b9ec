"""Backends as data: reasons, costs and the choice between them, subquadratic-ops-torch by its convention."""

from __future__ import annotations

import logging
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from mmhyena.ops import (
    BACKENDS,
    backends,
    dft,
    fft,
    long_conv,
    naive_long_conv,
    prepare_kernel,
    prepared_long_conv,
    subq,
)
from mmhyena.ops.backends import choose_backend
from mmhyena.ops.geometry import ConvCase, geometry


def case(size, taps, device='cpu', dtype=torch.float32, constant=True, causal=False, batch=1):
    return ConvCase(batch, 8, size, geometry(size, taps, causal), dtype, torch.device(device), constant)


@pytest.mark.parametrize('constant', [True, False])
@pytest.mark.parametrize('size', [(7,), (200,), (5, 8), (40, 30), (3, 4, 5)])
def test_the_cheapest_that_can_serve_is_chosen(size, constant):
    given = case(size, [2 * n - 1 for n in size], constant=constant)
    able = {name: backend.cost(given) for name, backend in BACKENDS.items() if backend.reason(given) is None}
    assert {'fft', 'direct'} <= set(able)
    assert choose_backend(given) == min(able, key=able.get)


def test_small_constant_maps_are_convolved_directly_and_large_ones_by_the_fft():
    assert choose_backend(case((7, 7), (13, 13))) == 'direct'
    assert choose_backend(case((90, 90), (111, 111))) == 'fft'
    assert choose_backend(case((56, 56), (111, 111), constant=False, batch=8)) == 'fft'


def test_matrices_that_would_be_too_large_are_refused_and_replaced():
    given = case((3000, 3000), (5999, 5999))
    assert 'too large' in BACKENDS['dft'].reason(given)
    assert choose_backend(given, 'dft') == 'fft'


def test_matrices_of_a_sequence_do_not_grow_with_its_square():
    assert BACKENDS['dft'].reason(case((2**20,), (2**21 - 1,))) is None
    sizes = [t.numel() for t in dft_tensors(2**14)]
    # Two matrices, their inverses and the factors between; the first matrix once more for the kernel.
    assert len(sizes) == 6 and max(sizes) < 5 * 2**14


def dft_tensors(length):
    """Return every constant that a convolution of that length takes."""
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ('half_matrix', 'full_matrix', 'twiddle'):
            make = getattr(dft, name)

            def spy(*args, make=make, name=name, **kwargs):
                return seen.setdefault((name, args), make(*args, **kwargs))

            patch.setattr(dft, name, spy)
        long_conv(torch.randn(1, 1, length), torch.randn(1, 3), backend='dft')
    return list({tensor.data_ptr(): tensor for tensor in seen.values()}.values())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('side', [14, 56, 200])
def test_choice_on_a_gpu_needs_no_gpu_and_logs_its_reasons_once(side, dtype, caplog, monkeypatch):
    monkeypatch.setattr(backends, '_logged', set())
    monkeypatch.setattr(subq, '_package_reason', lambda device: 'it is not installed')
    with caplog.at_level(logging.INFO, logger='mmhyena'):
        for _ in range(2):
            name = choose_backend(case((side, side), (2 * side - 1,) * 2, 'cuda', dtype, constant=False))
    assert BACKENDS[name].reason(case((side, side), (2 * side - 1,) * 2, 'cuda', dtype)) is None
    assert [r.message for r in caplog.records].count(
        "long convolution: backend 'subq' is not used here: it is not installed"
    ) == 1


def test_transform_of_all_axes_at_once_equals_reference(monkeypatch):
    """The form of every device but the CPU."""
    monkeypatch.setattr(fft, '_takes_tiles', lambda device: False)
    for size, taps, causal in (((9,), (30,), False), ((6, 7), (9, 4), False), ((3, 5, 4), (2, 9, 7), True)):
        u, k = torch.randn(2, 3, *size, dtype=torch.float64), torch.randn(3, *taps, dtype=torch.float64)
        leaves = [t.requires_grad_() for t in (u, k)]
        got, want = long_conv(u, k, causal=causal, backend='fft'), naive_long_conv(u, k, causal=causal)
        torch.testing.assert_close(got, want)
        weight = torch.randn_like(want)
        for a, b in zip(torch.autograd.grad(got, leaves, weight), torch.autograd.grad(want, leaves, weight)):
            torch.testing.assert_close(a, b)
        kernel = prepare_kernel(k, None, size, causal=causal, dtype=u.dtype, backend='fft')
        with torch.no_grad():
            torch.testing.assert_close(prepared_long_conv(u, kernel), want)


# ---------------------------------------------------------------------------------------------------------------------
# subquadratic-ops-torch: a module of its convention, in torch


def _true_conv(x, k, crop):
    """Linear convolution of ``x`` and ``k`` from the pixel ``crop`` of both axes on."""
    lengths = [n + m for n, m in zip(x.shape[2:], k.shape[1:])]
    y = torch.fft.irfft2(torch.fft.rfft2(x.float(), s=lengths) * torch.fft.rfft2(k.float(), s=lengths), s=lengths)
    y = F.pad(y, (0, max(crop[1], 0), 0, max(crop[0], 0)))
    return y[..., crop[0] : crop[0] + x.shape[2], crop[1] : crop[1] + x.shape[3]].to(x.dtype)


def fft_conv2d(x, k):
    assert x.dtype == k.dtype == torch.float32 and x.is_contiguous() and k.is_contiguous()
    for n, m in zip(x.shape[2:], k.shape[1:]):
        assert m <= 2 * (1 << (n - 1).bit_length())
    return _true_conv(x, k, [m // 2 for m in k.shape[1:]])


def fused_fft_conv2d(x, k, fft_size):
    assert x.dtype == k.dtype and x.is_contiguous() and k.is_contiguous() and fft_size in (8, 16, 32, 64, 128)
    assert max(x.shape[2:]) <= fft_size // 2 and max(k.shape[1:]) <= fft_size
    return _true_conv(x, k, [fft_size // 2] * 2)


@pytest.fixture
def install(monkeypatch):
    def install(**functions):
        for function in (subq._operator, subq._package_reason):
            function.cache_clear()
        monkeypatch.setitem(sys.modules, subq.PACKAGE, types.ModuleType(subq.PACKAGE))
        for name, function in functions.items():
            module = types.ModuleType(f'{subq.PACKAGE}.{name}')
            setattr(module, name, function)
            monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(subq, '_device_type', lambda: 'cpu')

    yield install
    for function in (subq._operator, subq._package_reason):
        function.cache_clear()


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize(
    'size,taps', [((6, 5), (11, 9)), ((14, 9), (27, 4)), ((33, 70), (41, 139)), ((64, 64), (127, 3))]
)
def test_subq_equals_reference_with_every_gradient(install, size, taps, causal):
    install(fft_conv2d=fft_conv2d, fused_fft_conv2d=fused_fft_conv2d)
    u, k, skip = torch.randn(2, 3, *size), torch.randn(3, *taps) / taps[0], torch.randn(3)
    leaves = [t.requires_grad_() for t in (u, k, skip)]
    assert BACKENDS['subq'].reason(case(size, taps, causal=causal)) is None
    got = long_conv(u, k, skip, causal=causal, backend='subq')
    want = long_conv(u, k, skip, causal=causal, backend='fft')
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    weight = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, leaves, weight), torch.autograd.grad(want, leaves, weight)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    kernel = prepare_kernel(k, skip, size, causal=causal, backend='subq')
    assert kernel.backend == 'subq'
    with torch.no_grad():
        torch.testing.assert_close(prepared_long_conv(u, kernel), want, rtol=1e-4, atol=1e-4)


def test_subq_keeps_half_precision(install):
    seen = []

    def spy(x, k, fft_size):
        seen.append((x.dtype, fft_size))
        return fused_fft_conv2d(x, k, fft_size)

    install(fft_conv2d=fft_conv2d, fused_fft_conv2d=spy)
    u, k = torch.randn(1, 2, 14, 14).bfloat16(), torch.randn(2, 27, 27)
    y = long_conv(u, k, backend='subq')
    assert y.dtype == torch.bfloat16 and seen[-1] == (torch.bfloat16, 32)
    assert (y.float() - naive_long_conv(u.float(), k)).norm() < 2e-2 * y.float().norm()


def test_subq_that_is_missing_broken_or_of_another_convention_is_replaced(install, caplog, monkeypatch):
    u, k = torch.randn(1, 2, 6, 6), torch.randn(2, 11, 11)

    def broken(*args, **kwargs):
        raise RuntimeError('no kernel image is available')

    def shifted(x, k, fft_size):
        return fused_fft_conv2d(x, k, fft_size).roll(1, -1)

    for functions, reason in (
        (dict(), 'ModuleNotFoundError'),
        (dict(fft_conv2d=fft_conv2d, fused_fft_conv2d=broken), 'no kernel image'),
        (dict(fft_conv2d=fft_conv2d, fused_fft_conv2d=shifted), 'does not follow the convention'),
    ):
        monkeypatch.setattr(backends, '_logged', set())
        install(**functions)
        torch.testing.assert_close(long_conv(u, k, backend='subq'), naive_long_conv(u, k), rtol=1e-4, atol=1e-4)
        assert reason in caplog.records[-1].message


@pytest.mark.skipif(torch.cuda.is_available(), reason='for a machine without a GPU')
def test_subq_is_not_imported_for_a_cpu():
    assert BACKENDS['subq'].reason(case((6, 6), (11, 11))) == 'it needs a CUDA device'
    assert subq.PACKAGE not in sys.modules
