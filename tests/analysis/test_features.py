"""Principal components of feature maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmhyena.analysis.features import principal_components, stage_features


class Backbone(nn.Module):
    """Gives the image itself, twice: every channel is a feature."""

    def forward(self, x):
        return x, x * 1


class Classifier(nn.Module):
    """A model with a backbone."""

    def __init__(self):
        super().__init__()
        self.backbone = Backbone()


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
    assert [tuple(feature.shape) for feature in stage_features(Classifier(), image())] == [(3, 16, 16)] * 2
