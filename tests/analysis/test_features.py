"""Principal components of feature maps, and activation maps of models whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmhyena.analysis.features import activation_map, principal_components
from mmhyena.analysis.models import feature_maps
from mmhyena.errors import UserError


class Backbone(nn.Module):
    """Gives the image itself, twice: every channel is a feature."""

    def forward(self, x):
        return x, x * 1


class Classifier(nn.Module):
    """The score of a class is the mean of the channel of the same index."""

    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, mode):
        assert mode == 'tensor'
        return self.backbone(x)[-1].mean((2, 3)) * self.scale


def image():
    x = torch.zeros(1, 3, 16, 16)
    x[0, 0, :4, :4] = 1
    x[0, 1, 8:, 8:] = 1
    return x


def test_one_component_takes_all_variance_of_a_map_of_rank_one():
    ramp = torch.arange(12.0).reshape(1, 3, 4)
    picture, shares = principal_components(ramp * torch.tensor([1.0, 2.0, -1.0, 0.5])[:, None, None])
    assert picture.shape == (3, 4, 3)
    assert shares == pytest.approx([1, 0, 0])
    red = picture[..., 0].ravel()
    assert np.allclose(red, np.linspace(0, 1, 12)) or np.allclose(red, np.linspace(1, 0, 12))
    assert not picture[..., 1:].any()


def test_a_constant_map_is_black():
    picture, shares = principal_components(torch.ones(4, 3, 3))
    assert not picture.any() and shares == [0, 0, 0]


def test_every_level_of_the_backbone_is_given():
    assert [tuple(feature.shape) for feature in feature_maps(Classifier(), image())] == [(1, 3, 16, 16)] * 2


@pytest.mark.parametrize(('category', 'inside'), [(0, (1, 1)), (1, (12, 12))])
def test_activation_map_lies_where_the_class_is(category, inside):
    pytest.importorskip('pytorch_grad_cam')
    heat, about = activation_map(Classifier(), 'classification', image(), category=category)
    outside = (12, 12) if category == 0 else (1, 1)
    assert heat.shape == (16, 16) and about['method'] == 'GradCAM'
    assert heat[inside] > 0.9 and heat[outside] < 0.1


def test_a_class_that_does_not_exist_is_named():
    pytest.importorskip('pytorch_grad_cam')
    with pytest.raises(UserError, match='3 classes, so there is no class 7'):
        activation_map(Classifier(), 'classification', image(), category=7)
