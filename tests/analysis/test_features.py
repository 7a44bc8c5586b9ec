"""Principal components of feature maps, and activation maps of models whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmhyena.analysis.features import activation_map, principal_components
from mmhyena.analysis.models import feature_maps, pooled_stages
from mmhyena.backbones import HyenaFormer
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


class PoolingClassifier(nn.Module):
    """The score of a class is a channel of the backbone's pooled vector."""

    def __init__(self):
        super().__init__()
        arch = dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8), token_mixers=[dict(type='SepConv')] * 4)
        self.backbone = HyenaFormer(arch=arch, out_indices=(1, 3), gap_before_final_norm=True)

    def forward(self, x, mode):
        return self.backbone(x)[0]


def test_the_activation_map_of_a_backbone_that_pools_is_that_before_pooling():
    pytest.importorskip('pytorch_grad_cam')
    torch.manual_seed(0)
    model = PoolingClassifier().eval()
    x = torch.randn(1, 3, 64, 96)
    found = []
    with pooled_stages(model.backbone)[0].register_forward_hook(lambda _module, _inputs, out: found.append(out)):
        vector = model.backbone(x)[0]
    feature = found[0].detach().permute(0, 3, 1, 2).requires_grad_()  # (1, C, 8, 12)
    torch.testing.assert_close(model.backbone.norm1(feature.mean((2, 3))), vector)

    heat, about = activation_map(model, 'classification', x, level=0, category=3)
    (gradient,) = torch.autograd.grad(model.backbone.norm1(feature.mean((2, 3)))[0, 3], feature)
    want = (gradient.mean((2, 3), keepdim=True) * feature).sum(1)[0].clamp(min=0).detach()
    assert heat.shape == (64, 96) and about['category'] == 3
    small = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(heat)[None], want.shape)[0]
    assert torch.corrcoef(torch.stack([small.flatten(), want.flatten()]))[0, 1] > 0.9
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(UserError, match='2 feature maps, so there is no level 2'):
        activation_map(model, 'classification', x, level=2)
