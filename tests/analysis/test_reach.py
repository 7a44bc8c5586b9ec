"""Long convolutions cut to a reach compute what short kernels compute, and come back unchanged."""

from __future__ import annotations

import pytest
import torch

from mmhyena.analysis.reach import limit_reach, long_convs, stage_of
from mmhyena.backbones import HyenaFormer
from mmhyena.layers import BidirectionalHyena, HyenaND, HyenaPixel
from mmhyena.ops import naive_long_conv

MIXERS = {
    'hpx': lambda: HyenaPixel(4, 13, position_dim=8),
    'hb': lambda: BidirectionalHyena(4, l_max=40, position_dim=9, width=8),
    'nd': lambda: HyenaND(4, 7, direction='alternating'),
    'centered': lambda: HyenaND(4, 7, direction='centered'),
}


@pytest.mark.parametrize('reach', [0, 2])
@pytest.mark.parametrize('name', MIXERS)
@torch.no_grad()
def test_taps_beyond_are_zero_and_all_others_as_before(name, reach):
    torch.manual_seed(0)
    mixer = MIXERS[name]().eval()
    ((_, conv),) = long_convs(mixer).items()
    spatial = (35,) if name == 'hb' else (5, 7)
    whole = conv.kernel(spatial)
    with limit_reach(mixer, reach) as count:
        cut = conv.kernel(spatial)
    assert count == 1
    kept = torch.ones_like(whole, dtype=torch.bool)
    for axis in range(1, whole.dim()):
        places = torch.arange(whole.shape[axis]) - (0 if conv.causal else whole.shape[axis] // 2)
        kept &= (places.abs() <= reach).view(-1, *(1,) * (whole.dim() - axis - 1))
    assert torch.equal(cut[kept], whole[kept]) and not cut[~kept].any() and whole[~kept].any()
    assert torch.equal(conv.kernel(spatial), whole)


@torch.no_grad()
def test_output_follows_in_evaluation_and_comes_back():
    torch.manual_seed(0)
    mixer = HyenaPixel(4, 13, position_dim=8).eval()
    u = torch.randn(2, 4, 9, 8)
    conv = mixer.long_conv
    before = conv(u)
    with limit_reach(mixer, 1):
        expected = naive_long_conv(u, conv.kernel((9, 8)), conv.skip)
        torch.testing.assert_close(conv(u), expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(conv(u), before, atol=1e-3)
    torch.testing.assert_close(conv(u), before)


def test_stages_are_limited_apart_and_none_limits_nothing():
    model = HyenaFormer(arch='hpx_former_tiny').eval()
    names = list(long_convs(model))
    assert sorted({stage_of(name) for name in names}) == [0, 1, 2, 3]
    with limit_reach(model, 3, stages=[2]) as count:
        assert count == 4
    with limit_reach(model, None) as count:
        assert count == 0


def test_wrong_use_is_named():
    model = HyenaFormer(arch='hpx_former_tiny')
    with pytest.raises(ValueError, match='no long convolutions in stages'), limit_reach(model, 3, stages=[9]):
        pass
    with pytest.raises(ValueError, match='must not be negative'), limit_reach(model, -1):
        pass
    assert all(type(conv.window).__name__ != 'ReachWindow' for conv in long_convs(model).values())
