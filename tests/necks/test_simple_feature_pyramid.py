"""The pyramid that a plain backbone needs for detection."""

import pytest
import torch

from mmhyena.necks import SimpleFeaturePyramid


@pytest.mark.parametrize('size', [(4, 4), (5, 7)])
def test_simple_feature_pyramid(size):
    neck = SimpleFeaturePyramid(16, out_channels=8, num_outs=5)
    outs = neck([torch.randn(2, 16, *size, requires_grad=True)])
    scales = (4, 2, 1)
    wants = [tuple(n * s for n in size) for s in scales] + [tuple(-(-n // s) for n in size) for s in (2, 4)]
    assert [tuple(out.shape) for out in outs] == [(2, 8, *want) for want in wants]
    sum(out.square().sum() for out in outs).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())


def test_simple_feature_pyramid_refuses_bad_levels():
    with pytest.raises(ValueError, match='num_outs must be at least'):
        SimpleFeaturePyramid(16, num_outs=3)
    with pytest.raises(ValueError, match='a scale must be'):
        SimpleFeaturePyramid(16, scales=(3,))
