"""Work in bands against the same work on the whole map."""

import pytest
import torch
import torch.nn.functional as F

from mmhyena.ops import map_bands, needs_bands, row_bands, unpadded_depthwise_conv

CASES = [((1, 9, 5, 4), 2), ((3, 7, 2, 4), 2), ((2, 1, 3, 4), 1), ((1, 3, 1, 4), 3), ((2, 23, 4), 1), ((1, 4, 4), 0)]


@pytest.mark.parametrize('band', [1, 60, 10_000])
@pytest.mark.parametrize('shape,reach', CASES)
def test_bands_equal_the_whole(shape, reach, band, monkeypatch):
    monkeypatch.setattr('mmhyena.ops.cpu.bands.BAND', band)
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(6, 4)
    short = torch.randn(6, 1, *(2 * reach + 1,) * (len(shape) - 2))

    def widen(rows):
        return F.linear(rows, weight)

    def reduce(wide):
        y = unpadded_depthwise_conv(wide, short)
        return y[..., :2] * y[..., 2:4], y[..., 4:]

    padded = F.pad(widen(x), (*(0, 0) * (len(shape) - 2), reach, reach))
    for got, want in zip(map_bands(x, widen, reduce, 6, reach), reduce(padded), strict=True):
        assert got.is_contiguous()
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize('band', [1, 30, 10_000])
def test_row_bands_meet_every_row_once(band, monkeypatch):
    monkeypatch.setattr('mmhyena.ops.cpu.bands.BAND', band)
    x, y = torch.randn(2, 7, 3, 4), torch.randn(2, 3, 7, 4).transpose(1, 2)
    for a, b in row_bands(x, y):
        a += b
        b.zero_()
    assert x.abs().min() > 0 and not y.any()


def test_bands_are_for_large_maps_without_gradients_on_a_cpu():
    x = torch.empty(1, 200, 336, 64)
    with torch.no_grad():
        assert needs_bands(x, 192) and not needs_bands(x, 48)
        assert not needs_bands(x.to('meta'), 192)
        with torch.autocast('cpu', torch.bfloat16):
            assert not needs_bands(x, 192)
    assert not needs_bands(x, 192)
