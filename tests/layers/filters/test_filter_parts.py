"""Positional encodings, windows and their resampling."""

import math

import pytest
import torch

from mmhyena.layers import BidirectionalWindow, ComplexExponentialPosition, ImplicitFilter, RadialWindow, SinCosPosition
from mmhyena.layers.filters import filters
from mmhyena.layers.filters import resample as module
from mmhyena.layers.filters.filters import SineMLP
from mmhyena.layers.filters.resample import resample

pytestmark = pytest.mark.usefixtures('on_device')


def test_radial_window_is_euclidean_and_starts_at_the_published_rates():
    window = RadialWindow(5, (7, 9))
    assert window.distance[3, 4] == 0
    assert window.distance[0, 0] == pytest.approx(5.0)  # 3 and 4 pixels from the center
    first, last = window.delta[0].item(), window.delta[-1].item()
    assert first == pytest.approx(math.log(0.01) / 1.5 / 9)
    assert last == pytest.approx(math.log(0.01) / 0.3 / 9)
    weights = window(torch.ones(5, 7, 9)).detach()
    assert weights[2, 3, 4] == pytest.approx(1.0)
    assert weights[2, 0, 0] == pytest.approx(math.exp(-5 * abs(window.delta[2].item())), rel=1e-5)


def test_bidirectional_window_and_encoding_are_symmetric_about_the_center():
    window, code = BidirectionalWindow(3, (9,)), ComplexExponentialPosition((9,), dim=5)
    assert window.distance.tolist() == [1, 0.75, 0.5, 0.25, 0, 0.25, 0.5, 0.75, 1]
    assert code.table[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]
    assert window.delta.abs().tolist() == pytest.approx([3.0701, 9.2103, 15.3506], abs=1e-3)
    n, frequency = 4, 1.0  # linspace(1e-4, 1, 2) ends at 1
    assert code.table[n, 2].item() == pytest.approx(math.cos(2 * math.pi * n * frequency / 9), abs=1e-6)
    assert code.table[n, 4].item() == pytest.approx(-math.sin(2 * math.pi * n * frequency / 9), abs=1e-6)


def test_sin_cos_encoding_separates_axes():
    table = SinCosPosition((5, 6), dim=8).table
    assert table.shape == (5, 6, 8)
    assert torch.equal(table[:, :1, :4].expand(-1, 6, -1), table[..., :4])
    assert torch.equal(table[:1, :, 4:].expand(5, -1, -1), table[..., 4:])
    assert table[3, 0, 0].item() == pytest.approx(math.sin(3), rel=1e-5)


@pytest.mark.parametrize('size', [(7, 5), (13, 5), (7, 9), (21, 4), (1, 1)])
def test_resample_keeps_linear_functions_and_ends(size):
    rows, columns = torch.linspace(-1, 1, 7), torch.linspace(0, 2, 5)
    table = torch.stack([rows[:, None].expand(-1, 5), columns.expand(7, -1)]).double()
    got = resample(table, size)
    want_rows = torch.linspace(-1, 1, size[0]) if size[0] > 1 else torch.zeros(1)
    want_columns = torch.linspace(0, 2, size[1]) if size[1] > 1 else torch.ones(1)
    torch.testing.assert_close(got[0], want_rows.double()[:, None].expand(size), rtol=0, atol=1e-6)
    torch.testing.assert_close(got[1], want_columns.double().expand(size), rtol=0, atol=1e-6)


def test_resample_at_its_own_size_is_the_table_itself():
    table = torch.randn(2, 3, 4)
    assert resample(table, (3, 4)) is table


@pytest.mark.parametrize('old', [(7, 5), (1, 2), (2, 9), (6,), (3, 4, 5)])
@pytest.mark.parametrize('grown', [13, 4, 1])
def test_resample_by_matrix_equals_gathering_neighbors(old, grown, monkeypatch):
    table, size = torch.randn(2, *old, dtype=torch.float64, requires_grad=True), [n + grown - 3 for n in old]
    size = [max(1, n) for n in size]
    by_matrix = resample(table, size)
    channels_last = resample(table.movedim(0, -1), size, first=0)
    gradient = torch.autograd.grad(by_matrix.square().sum(), table)[0]
    monkeypatch.setattr(module, 'MATRIX', 0)
    gathered = resample(table, size)
    torch.testing.assert_close(by_matrix, gathered)
    torch.testing.assert_close(channels_last.movedim(-1, 0), gathered)
    torch.testing.assert_close(gradient, torch.autograd.grad(gathered.square().sum(), table)[0])


@pytest.mark.parametrize('kernel_size', [(9, 7), (40,)])
def test_filter_in_tiles_equals_the_whole(kernel_size, monkeypatch):
    implicit = ImplicitFilter(4, kernel_size, dict(type='SinCosPosition', dim=8), width=6, depth=3)
    want = implicit(kernel_size)
    assert want.shape == (4, *kernel_size) and want.is_contiguous()
    monkeypatch.setattr(filters, 'TILE', 11)
    with torch.no_grad():
        got = implicit(kernel_size)
    assert got.is_contiguous()
    torch.testing.assert_close(got, want.detach())


def test_radial_window_is_the_same_with_and_without_gradients():
    window, kernel = RadialWindow(3, (5, 7)), torch.randn(3, 5, 7)
    with torch.no_grad():
        window.shift.normal_()
        before, got = kernel.clone(), window(kernel)
    torch.testing.assert_close(got, window(kernel).detach(), rtol=0, atol=0)
    assert torch.equal(kernel, before)


@pytest.mark.parametrize('size', [(5, 5), (9, 13), (3, 7)])
def test_filter_gives_any_size_and_the_same_function(size):
    implicit = ImplicitFilter(4, (5, 5), dict(type='SinCosPosition', dim=8), width=6, depth=3)
    kernel = implicit(size)
    assert kernel.shape == (4, *size)
    center = kernel[:, size[0] // 2, size[1] // 2]
    torch.testing.assert_close(center, implicit((5, 5))[:, 2, 2])


def test_unfit_arguments_are_named():
    with pytest.raises(ValueError, match='multiple of 4'):
        SinCosPosition((3, 3), dim=6)
    with pytest.raises(ValueError, match='odd kernel'):
        ComplexExponentialPosition((8,), dim=5)
    with pytest.raises(ValueError, match='odd dim'):
        ComplexExponentialPosition((9,), dim=4)
    with pytest.raises(ValueError, match='depth'):
        SineMLP(2, 3, 4, depth=1)
