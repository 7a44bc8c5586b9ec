"""Processing in tiles against processing the whole feature map."""

import pytest
import torch
import torch.nn.functional as F

from mmhyena.ops import map_tiles, needs_tiles, row_tiles, unpadded_depthwise_conv
from mmhyena.ops.cpu import tiles

CASES = [((1, 9, 5, 4), 2), ((3, 7, 2, 4), 2), ((2, 1, 3, 4), 1), ((1, 3, 1, 4), 3), ((2, 23, 4), 1), ((1, 4, 4), 0)]


@pytest.mark.parametrize('tile', [1, 60, 10_000])
@pytest.mark.parametrize('shape,reach', CASES)
def test_tiles_equal_the_whole(shape, reach, tile, monkeypatch):
    monkeypatch.setattr('mmhyena.ops.cpu.tiles.TILE', tile)
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(6, 4)
    short = torch.randn(6, 1, *(2 * reach + 1,) * (len(shape) - 2))

    def widen(rows):
        return F.linear(rows, weight)

    def reduce(wide):
        y = unpadded_depthwise_conv(wide, short)
        return y[..., :2] * y[..., 2:4], y[..., 4:]

    padded = F.pad(widen(x), (*(0, 0) * (len(shape) - 2), reach, reach))
    for got, want in zip(map_tiles(x, widen, reduce, 6, reach), reduce(padded), strict=True):
        assert got.is_contiguous()
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize('tile', [1, 30, 10_000])
def test_row_tiles_meet_every_row_once(tile, monkeypatch):
    monkeypatch.setattr('mmhyena.ops.cpu.tiles.TILE', tile)
    x, y = torch.randn(2, 7, 3, 4), torch.randn(2, 3, 7, 4).transpose(1, 2)
    for a, b in row_tiles(x, y):
        a += b
        b.zero_()
    assert x.abs().min() > 0 and not y.any()


def test_only_wide_intermediate_results_need_tiles(monkeypatch):
    monkeypatch.setattr(tiles, 'LARGE', 1000)
    x = torch.empty(2, 5, 10, 4)
    assert needs_tiles(x, 11) and not needs_tiles(x, 10)
