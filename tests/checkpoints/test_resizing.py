"""Filters at other kernel sizes, judged by their frequency response.

The response is the Fourier transform of a kernel over its displacements in units of the original taps, so a kernel
that was stretched over more taps has the response of the original at the same, that is proportional, frequencies.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmhyena.backbones import HyenaSwin
from mmhyena.checkpoints import load_pretrained, resize_filters
from mmhyena.layers import BidirectionalHyena, HyenaND, HyenaPixel, LongConv
from mmhyena.layers.filters.resample import axis_spacings, resample, resample_distance, tap_spacing

# Of the response's norm, up to a quarter of the sampling rate, for the large kernels. Linear interpolation gives 0.018.
# With 13 taps the code's fastest sine turns by a radian a tap, and what the border cuts off weighs more.
TOLERANCE, TOLERANCE_13 = 0.008, 0.06


def pixel(kernel_size: int) -> HyenaPixel:
    # Weights of a size that makes the network nonlinear, as training does; the initial ones are tiny.
    filter = dict(type='ImplicitFilter', position=dict(type='SinCosPosition', dim=32), width=64, depth=3, init_std=None)
    return HyenaPixel(16, kernel_size, filter=filter)


def bidirectional(taps: int) -> BidirectionalHyena:
    position = dict(type='ComplexExponentialPosition', dim=33)
    filter = dict(type='ImplicitFilter', position=position, width=64, depth=4, init_std=None)
    return BidirectionalHyena(16, (taps + 1) // 2, filter=filter)


def response(kernel: Tensor, spacing: float) -> Tensor:
    """Return the response ``(C, F)`` or ``(C, F, F)`` of a kernel ``(C, *taps)`` with taps ``spacing`` apart."""
    frequencies = torch.linspace(0, 0.25, 14, dtype=torch.float64)
    taps = kernel.shape[-1]
    displacement = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) * spacing
    wave = torch.exp(-2j * torch.pi * frequencies[:, None] * displacement)  # (F, taps)
    result = kernel.to(wave.dtype)
    for _ in kernel.shape[1:]:
        result = torch.tensordot(result, wave, ([1], [1]))
    return result


def kernel_of(long_conv: LongConv) -> Tensor:
    with torch.no_grad():
        return long_conv.kernel(long_conv.kernel_size).double()


def resized(make: Callable, old: int, new: int) -> tuple[LongConv, LongConv]:
    """Return a mixer's convolution with ``old`` taps and one with ``new`` taps that has loaded its weights."""
    torch.manual_seed(0)
    source, target = make(old), make(new)
    shapes = {name: tuple(value.shape) for name, value in target.state_dict().items()}
    state, _ = resize_filters(source.state_dict(), shapes)
    target.load_state_dict(state)
    return source.long_conv, target.long_conv


@pytest.mark.parametrize(
    ('make', 'old', 'new'),
    [(pixel, 111, new) for new in (113, 127, 151, 191, 221)]
    + [(pixel, 13, 23), (pixel, 111, 99), (bidirectional, 391, 783), (bidirectional, 391, 577)],
)
def test_response_at_proportional_frequencies(make: Callable, old: int, new: int, add_row: Callable):
    source, target = resized(make, old, new)
    expected = response(kernel_of(source), 1)
    got = response(kernel_of(target), (old - 1) / (new - 1))
    error = float((got - expected).norm() / expected.norm())
    add_row('Frequency response of a resampled kernel', mixer=make.__name__, taps=f'{old} to {new}', error=error)
    assert error < (TOLERANCE_13 if old == 13 else TOLERANCE)
    assert float(expected.norm()) > 0


@pytest.mark.parametrize(('make', 'size'), [(pixel, 55), (bidirectional, 391)])
def test_equal_at_the_original_size(make: Callable, size: int):
    source, target = resized(make, size, size)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_smooth_between_the_sizes():
    expected = response(kernel_of(resized(pixel, 111, 111)[0]), 1)
    sizes = range(111, 192, 8)
    responses = [response(kernel_of(resized(pixel, 111, size)[1]), 110 / (size - 1)) for size in sizes]
    steps = [float((b - a).norm() / expected.norm()) for a, b in itertools.pairwise(responses)]
    assert max(steps) < TOLERANCE
    assert sum(steps) < 3 * TOLERANCE, 'the response drifts instead of settling'


@pytest.mark.parametrize(
    ('make', 'old', 'new', 'size'),
    [(pixel, 55, 95, (48, 48)), (bidirectional, 97, 161, (81,))]
    + [(pixel, old, new, ((new + 1) // 2,) * 2) for old, new in ((3, 1), (1, 3), (7, 1), (1, 7))]
    + [(bidirectional, old, new, ((new + 1) // 2,)) for old, new in ((3, 1), (1, 3))],
)
def test_same_kernel_as_resampled_at_run_time(make: Callable, old: int, new: int, size: tuple[int, ...]):
    source, target = resized(make, old, new)
    source.filter_resize = True
    with torch.no_grad():
        at_run_time = source.kernel(size).double()
    assert at_run_time.shape[-1] == new
    torch.testing.assert_close(kernel_of(target), at_run_time, rtol=1e-5, atol=1e-7)


def test_window_keeps_its_shape():
    _, target = resized(pixel, 111, 191)
    distance = target.window.distance
    assert distance[95].max() == pytest.approx(55)
    assert distance[95, 95] == 0
    axis = (torch.arange(191) - 95) * (55 / 95)
    torch.testing.assert_close(distance, torch.hypot(axis[:, None], axis), rtol=1e-5, atol=1e-5)


def test_learned_window_is_kept():
    source, target = resized(pixel, 55, 95)
    assert torch.equal(source.window.delta, target.window.delta)
    assert torch.equal(source.window.shift, target.window.shift)


def test_official_distances_of_another_scale_are_kept():
    """Official checkpoints of the resampled kernels have an edge distance of 110 where 55 keeps the window."""
    source = pixel(191)
    source.long_conv.window.distance.mul_(110 / 95)
    target = pixel(191)
    state, notes = resize_filters(source.state_dict(), {k: tuple(v.shape) for k, v in target.state_dict().items()})
    target.load_state_dict(state)
    assert not notes
    assert target.long_conv.window.distance[95].max() == pytest.approx(110)


def test_tensors_that_need_no_change_are_shared():
    source = pixel(13)
    shapes = {name: tuple(value.shape) for name, value in pixel(23).state_dict().items()}
    before = {name: value.clone() for name, value in source.state_dict().items()}
    state, notes = resize_filters(source.state_dict(), shapes)
    changed = {name for name, value in state.items() if value is not source.state_dict()[name] and name in notes}
    assert changed == {'long_conv.filter.position.table', 'long_conv.window.distance'}
    assert all(torch.equal(value, before[name]) for name, value in source.state_dict().items()), 'the source is intact'


def test_other_position_codes_are_not_resampled():
    source = HyenaPixel(16, 13, position_dim=16)
    shapes = {name: tuple(value.shape) for name, value in HyenaPixel(16, 23, position_dim=32).state_dict().items()}
    _, notes = resize_filters(source.state_dict(), shapes)
    assert not notes


@pytest.mark.parametrize('old', [1, 2, 3, 7, 8])
@pytest.mark.parametrize('new', [1, 2, 3, 5, 8, 13])
def test_parabolas_are_resampled_exactly(old: int, new: int):
    def parabola(size: int) -> Tensor:
        t = torch.linspace(-1, 1, size, dtype=torch.float64) if size > 1 else torch.zeros(1, dtype=torch.float64)
        return torch.stack([torch.ones_like(t), t, t**2 if old > 2 else t])

    expected = parabola(new) if old > 1 else parabola(1).expand(3, new)
    torch.testing.assert_close(resample(parabola(old), (new,)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('size', [(7, 7), (13, 9), (31, 31)])
def test_distances_are_resampled_exactly(size: tuple[int, int]):
    def distances(*size: int) -> Tensor:
        axes = [torch.linspace(-6, 6, n, dtype=torch.float64) for n in size]
        return torch.hypot(axes[0][:, None], axes[1])

    torch.testing.assert_close(resample_distance(distances(13, 13), size), distances(*size), rtol=0, atol=1e-7)


def test_resampling_has_a_gradient():
    table = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda table: resample(table, (8, 3)), table)


def shapes_of(mixer: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in mixer.state_dict().items()}


@pytest.mark.parametrize('direction', ['causal', 'centered'])
@pytest.mark.parametrize('filter', ['joint', 'product', 'direct'])
@pytest.mark.parametrize(('ndim', 'window'), [(1, 'standard'), (2, 'learned'), (2, 'symmetric'), (3, 'symmetric')])
@pytest.mark.parametrize(('old', 'new'), [(4, 6), (3, 1), (1, 3)])
def test_hyena_nd_has_the_kernel_of_run_time(ndim: int, window: str, filter: str, direction: str, old: int, new: int):
    if window == 'symmetric' and old == 1:
        pytest.skip('one tap says nothing about the decay: at run time there is none, and a rate of zero cannot learn')
    torch.manual_seed(0)
    kwargs = dict(channels=4, ndim=ndim, filter=filter, window=window, direction=direction, filter_width=8)
    source, target = (HyenaND(map_size=size, **kwargs).double() for size in (old, new))
    state, notes = resize_filters(source.state_dict(), shapes_of(target))
    assert list(notes) == ['long_conv.filter.kernel' if filter == 'direct' else 'long_conv.filter.position.table']
    target.load_state_dict(state)
    spatial = (new,) * ndim
    torch.testing.assert_close(target.long_conv.kernel(spatial), source.long_conv.kernel(spatial))
    assert source.state_dict().keys() == state.keys()


def test_hyena_nd_of_the_same_size_is_shared():
    source = HyenaND(4, 5, filter='product')
    state = source.state_dict()
    resized_state, notes = resize_filters(state, shapes_of(source))
    assert not notes and all(resized_state[key] is value for key, value in state.items())


def test_pretrained_hyena_nd_at_another_image_size(tmp_path: Path):
    arch = dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))
    old, new = HyenaSwin(arch, img_size=64).eval(), HyenaSwin(arch, img_size=96).eval()
    torch.save({'state_dict': {f'backbone.{key}': v for key, v in old.state_dict().items()}}, tmp_path / 'a.pth')
    load_pretrained(new, tmp_path / 'a.pth')
    x = torch.randn(1, 3, 96, 96)
    for a, b in zip(new(x), old(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_spacing_of_taps():
    assert axis_spacings((5, 3), (3, 5)) == [2.0, 0.5]
    assert tap_spacing((5, 3), (3, 5)) == 1.0
    assert tap_spacing((1,), (5,)) == 0.25 and tap_spacing((5,), (1,)) == 4.0 and tap_spacing((1,), (1,)) == 1.0
