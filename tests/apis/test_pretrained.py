"""Weights that a config names in a toolkit's own way are read by the reader of this package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmhyena.apis import use_toolkit
from mmhyena.apis.pretrained import use_init_cfg


def build(scope: str, model: dict) -> torch.nn.Module:
    """Build and initialize a model as a run does."""
    pytest.importorskip(scope)
    cfg = Config(dict(default_scope=scope, model=model))
    use_toolkit(cfg)
    use_init_cfg(cfg)
    built = MODELS.build(cfg.model)
    built.init_weights()
    return built


@pytest.mark.parametrize(
    ('scope', 'model', 'prefix'),
    [
        ('mmpretrain', dict(type='TimmClassifier', num_classes=3), 'model.'),
        ('mmseg', dict(type='TIMMBackbone', features_only=True, pretrained=False), 'timm_model.'),
    ],
)
def test_checkpoint_path_of_timm(scope: str, model: dict, prefix: str, tmp_path: Path):
    timm = pytest.importorskip('timm')
    state = timm.create_model('resnet10t', num_classes=3).state_dict()
    torch.save(state, tmp_path / 'weights.pth')
    built = build(scope, dict(model, model_name='resnet10t', checkpoint_path=str(tmp_path / 'weights.pth')))
    own = {name.removeprefix(prefix): value for name, value in built.state_dict().items()}
    assert len(own) > 50 and all(torch.equal(value, state[name]) for name, value in own.items())


def test_pretrained_of_a_segmentor(tmp_path: Path):
    backbone = dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny')
    state = build('mmseg', dict(backbone)).state_dict()
    torch.save(state, tmp_path / 'weights.pth')
    head = dict(type='FCNHead', in_channels=192, channels=8, num_classes=3, in_index=3)
    model = dict(type='EncoderDecoder', backbone=backbone, decode_head=head, pretrained=str(tmp_path / 'weights.pth'))
    built = build('mmseg', model)
    assert all(torch.equal(value, state[name]) for name, value in built.backbone.state_dict().items())
