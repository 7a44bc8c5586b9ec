"""Architectures of official HyenaPixel classifiers from their tensors alone, and state dicts of other origin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import CheckpointError, convert_official, official_classifier, revert_official
from mmhyena.registry import MODELS

PUBLISHED = [
    'hpx_former_s18',
    'hpx_former_s18_k191',
    'hpx_former_b36',
    'hb_former_s18',
    'hb_former_b36',
    'c_hpx_former_s18',
    'hpx_a_former_s18',
    'hb_a_former_s18',
]


def official(arch: str | dict, classes: int = 10, classifier: bool = True) -> dict[str, Tensor]:
    """Return an official state dict of an architecture; tensors take no memory."""
    with torch.device('meta'):
        backbone = HyenaFormer(arch, out_indices=(3,) if classifier else (0, 1, 2, 3))
    channels = backbone.embed_dims[-1]
    shapes = {f'backbone.{name}': value.shape for name, value in backbone.state_dict().items()}
    if classifier:
        hidden = 4 * channels
        shapes |= {'head.fc1.weight': (hidden, channels), 'head.fc1.bias': (hidden,), 'head.norm.weight': (hidden,)}
        shapes |= {'head.norm.bias': (hidden,), 'head.fc2.weight': (classes, hidden), 'head.fc2.bias': (classes,)}
    return revert_official({name: torch.zeros(()).expand(tuple(shape)) for name, shape in shapes.items()})


@pytest.mark.parametrize('arch', PUBLISHED)
def test_published_architectures_are_recognized(arch):
    state = official(arch)
    config, weights = official_classifier(state)
    assert config['backbone']['arch'] == arch
    channels = HyenaFormer.arch_settings[arch]['channels'][-1]
    assert config['head'] == dict(type='mmhyena.MetaFormerClsHead', num_classes=10, in_channels=channels)
    assert weights.keys() == convert_official(state).keys()


def test_other_sizes_become_an_arch():
    mixers = [
        dict(type='HyenaPixel', kernel_size=31, position_dim=16, norm=True),
        dict(type='BidirectionalHyena', l_max=64, position_dim=17, width=32, norm=True),
        dict(type='SepConv'),
        dict(type='Attention'),
    ]
    arch = dict(depths=(1, 2, 1, 1), channels=(16, 32, 48, 64), token_mixers=mixers)
    config, _ = official_classifier(official(arch, classes=3))
    assert config['backbone']['arch'] == arch
    assert config['head']['num_classes'] == 3


@torch.no_grad()
def test_config_and_weights_load_strictly():
    pytest.importorskip('mmpretrain')
    from mmpretrain.registry import MODELS as MMPRETRAIN

    state = {name: torch.randn(value.shape) for name, value in official('hpx_former_tiny').items()}
    config, weights = official_classifier(state)
    model = MMPRETRAIN.build(config).eval()
    model.load_state_dict(weights, strict=True)
    assert model(torch.randn(1, 3, 64, 64), mode='tensor').shape == (1, 10)
    assert MODELS.build(config['backbone']).out_indices == (3,)


@pytest.mark.parametrize(
    ('change', 'args', 'message'),
    [
        (lambda s: s.pop('stages.0.0.mlp.fc1.weight'), {}, r'1 missing \(backbone.stages.0.0.mlp.fc1.weight\)'),
        (lambda s: s.pop('stages.2.0.token_mixer.long_conv.z'), {}, 'no official token mixer has depthwise_conv.bias'),
        (lambda s: s.pop('downsample_layers.1.conv.weight'), {}, "lacks 'downsample_layers.1.conv.weight'"),
        (lambda s: s.pop('head.fc2.weight'), {}, 'has no classifier'),
        (lambda s: s.update({'extra.weight': torch.ones(1)}), {}, 'no counterpart: extra.weight'),
        (lambda s: s.update({'head.fc1.weight': torch.ones(5, 5)}), {}, 'of another shape'),
        (lambda s: None, dict(roll='official'), 'takes no arguments, not roll'),
    ],
)
def test_misfits_are_named(change, args, message):
    state = official('hpx_former_tiny')
    change(state)
    with pytest.raises(CheckpointError, match=message):
        official_classifier(state, **args)


def test_feature_extractors_and_other_models_are_refused():
    with pytest.raises(CheckpointError, match='has no classifier'):
        official_classifier(official('hpx_former_tiny', classifier=False))
    with pytest.raises(CheckpointError, match=r'no official checkpoint of .*IBiT.*conv1.weight'):
        official_classifier({'conv1.weight': torch.ones(1)})
    with pytest.raises(CheckpointError, match='has no tensor'):
        official_classifier({})
