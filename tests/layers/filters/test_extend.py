"""Kernels that are extended: the taps of training stay, and those around them continue filter and window."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmhyena.layers import (
    AxialPosition,
    BidirectionalWindow,
    ComplexExponentialPosition,
    ExponentialWindow,
    HyenaND,
    HyenaPixel,
    LongConv,
    RadialWindow,
    SinCosPosition,
    SymmetricWindow,
)

IMPLICIT = dict(type='ImplicitFilter', width=8, depth=3, init_std=0.5)
SIN_COS = dict(IMPLICIT, position=dict(type='SinCosPosition', dim=8))
RAMP = dict(IMPLICIT, position=dict(type='ComplexExponentialPosition', dim=5))
CASES = {
    'radial': ((5, 7), SIN_COS, dict(type='RadialWindow'), False),
    'sequence': ((9,), RAMP, dict(type='BidirectionalWindow'), False),
    'direct': ((5, 3), dict(type='DirectFilter'), None, False),
    'direct_causal': ((5, 4), dict(type='DirectFilter', centered=False), None, True),
    'joint': ((4, 6), dict(type='JointFilter', width=8), dict(type='ExponentialWindow'), True),
    'joint_centered': (
        (5, 7),
        dict(type='JointFilter', width=8, centered=True),
        dict(type='ExponentialWindow', centered=True),
        False,
    ),
    'product': ((6, 4), dict(type='ProductFilter', width=8), dict(type='ExponentialWindow', per_axis=True), True),
    'symmetric': (
        (5, 5),
        dict(type='JointFilter', width=8, centered=True),
        dict(type='SymmetricWindow', centered=True),
        False,
    ),
}


def extended(size, filter, window, causal):
    torch.manual_seed(0)
    conv = LongConv(4, size, filter, window, causal=causal, filter_resize='extend').double()
    with torch.no_grad():
        for parameter in conv.parameters():  # as training changes tables and windows
            parameter += 0.05 * torch.randn_like(parameter)
    return conv


@pytest.mark.parametrize('case', CASES)
def test_taps_of_training_stay_and_others_come_around_them(case):
    size, filter, window, causal = CASES[case]
    conv = extended(size, filter, window, causal)
    spatial = [size + 3 for size in size]
    want, kernel = conv.kernel([1] * len(size)), conv.kernel(spatial)
    assert want.shape[1:] == size  # no smaller than in training
    assert kernel.shape[1:] == tuple(n if causal else 2 * n - 1 for n in spatial)
    inside = kernel
    for axis, (old, new) in enumerate(zip(size, kernel.shape[1:]), start=1):
        inside = inside.narrow(axis, 0 if causal else (new - old) // 2, old)
    torch.testing.assert_close(inside, want, rtol=1e-6, atol=1e-9)
    outside = kernel.square().sum() - inside.square().sum()
    assert outside < 1e-9 if filter['type'] == 'DirectFilter' else outside > 1e-4 * inside.square().sum()


@pytest.mark.parametrize('case', CASES)
def test_on_a_map_within_the_taps_nothing_changes(case):
    size, filter, window, causal = CASES[case]
    conv = extended(size, filter, window, causal)
    spatial = [size if causal else (size + 1) // 2 for size in size]
    x = torch.randn(2, 4, *spatial, dtype=torch.float64)
    got = conv(x)
    conv.filter_resize = False
    torch.testing.assert_close(conv(x), got)


def test_even_kernels_keep_their_center():
    conv = extended((4,), dict(type='DirectFilter'), None, False)
    kernel = conv.kernel((5,))
    torch.testing.assert_close(kernel, F.pad(conv.kernel((1,)), (3, 3)))


def test_waves_continue_beyond_the_table():
    position = SinCosPosition((5, 5), dim=4)
    row = torch.arange(-2, 7, dtype=torch.float32)
    encoding = position((9, 9), extend=True)
    torch.testing.assert_close(encoding[:, 3, 0], row.sin())
    torch.testing.assert_close(encoding[4, :, 3], row.cos())
    with torch.no_grad():
        position.table[0] += 1  # what training changed at an edge holds beyond it
    torch.testing.assert_close(position((9, 9), extend=True)[:3, 3, 0], row.sin()[:3] + 1)
    ramp = ComplexExponentialPosition((5,), dim=3)((9,), extend=True)[:, 0]
    torch.testing.assert_close(ramp, torch.tensor([-1, -0.5, 0, 0.5, 1, 0.5, 0, -0.5, -1]))


def test_axes_shorter_than_the_shared_table_keep_their_spacing():
    position = AxialPosition((3, 5))
    rows, columns = position((5, 5), extend=True)
    torch.testing.assert_close(rows[:, 0], torch.tensor([0, 0.5, 1, 1.5, 2]))  # half the table per tap
    torch.testing.assert_close(columns, position.table)


@pytest.mark.parametrize('scale', [1, 2])
def test_radial_window_counts_the_pixels_of_its_buffer(scale):
    window = RadialWindow(3, (5, 5))
    with torch.no_grad():
        window.distance *= scale
        window.shift += 0.25
    got = window(torch.ones(3, 9, 9), extend=True)
    torch.testing.assert_close(got[:, 4, 8], torch.exp(-4 * scale * window.delta.abs()) + 0.25)
    torch.testing.assert_close(got[:, 2:7, 2:7], window(torch.ones(3, 5, 5)))


def test_other_windows_fall_on():
    torch.testing.assert_close(
        BidirectionalWindow(3, (5,))(torch.ones(3, 9), extend=True)[:, 0],
        torch.exp(-2 * BidirectionalWindow(3, (5,)).delta.abs()),
    )
    exponential = ExponentialWindow(3, (5,))
    got = exponential(torch.ones(3, 9), extend=True)[:, 8]
    torch.testing.assert_close(got, torch.exp(-2 * exponential.delta[0].abs()))
    symmetric = SymmetricWindow(3, (5,))
    got = symmetric(torch.ones(3, 9), extend=True)[:, 8]
    torch.testing.assert_close(got, torch.exp(-8 * symmetric.delta.abs()) + symmetric.shift)


@pytest.mark.parametrize(
    'make', [lambda how: HyenaPixel(8, 7, filter_resize=how), lambda how: HyenaND(8, 4, filter_resize=how)]
)
def test_mixers_are_global_when_extended_and_refuse_other_words(make):
    torch.manual_seed(0)
    mixer = make('extend').eval()
    x = torch.randn(1, 9, 12, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixer(x)[0, -1, -1].sum(), x)
    assert gradient[0, 0, 0].abs().sum() > 0
    cut = make(False).eval()
    cut.load_state_dict(mixer.state_dict())
    (gradient,) = torch.autograd.grad(cut(x)[0, -1, -1].sum(), x)
    assert gradient[0, 0, 0].abs().sum() == 0
    with pytest.raises(ValueError, match="filter_resize must be False, True or 'extend', got 'stretch'"):
        make('stretch')
