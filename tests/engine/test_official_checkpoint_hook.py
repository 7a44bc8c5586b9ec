"""Official checkpoints in a run's ``load_from``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import load_checkpoint
from torch import nn

from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import CheckpointError, revert_official
from mmhyena.registry import HOOKS


def make_model(classes: int = 10, arch: str = 'hpx_former_tiny', pooled: bool = True) -> nn.Module:
    head = nn.ModuleDict(dict(fc1=nn.Linear(192, 768), norm=nn.LayerNorm(768), fc2=nn.Linear(768, classes)))
    settings = dict(out_indices=(3,), gap_before_final_norm=True) if pooled else {}
    model = nn.Module()
    model.backbone, model.head = HyenaFormer(arch, **settings), head
    return model


def load(model: nn.Module, content: dict, tmp_path: Path, **options: object) -> None:
    """Load what a file holds as a run does."""
    torch.save(content, tmp_path / 'official.pth')
    checkpoint = torch.load(tmp_path / 'official.pth', weights_only=True)
    HOOKS.build(dict(type='mmhyena.OfficialCheckpointHook', **options)).after_load_checkpoint(
        SimpleNamespace(model=model), checkpoint
    )
    torch.save(checkpoint, tmp_path / 'converted.pth')
    load_checkpoint(model, str(tmp_path / 'converted.pth'))


@pytest.mark.parametrize('wrapper', [None, 'state_dict', 'model', 'state_dict_ema'])
def test_classifier(wrapper: str | None, tmp_path: Path):
    source, model = make_model(), make_model()
    official = revert_official(source.state_dict())
    load(model, official if wrapper is None else {wrapper: official, 'epoch': 1}, tmp_path)
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize('change', [dict(classes=3), dict(pooled=False)])
def test_other_heads_and_norms_are_left_out(change: dict, tmp_path: Path):
    source, model = make_model(), make_model(**change)
    before = model.backbone.state_dict().get('norm0.weight'), model.head['fc2'].weight.clone()
    load(model, revert_official(source.state_dict()), tmp_path)
    blocks = source.backbone.stages.state_dict()
    assert all(torch.equal(model.backbone.stages.state_dict()[name], value) for name, value in blocks.items())
    if 'classes' in change:
        assert torch.equal(model.head['fc2'].weight, before[1])
    else:
        assert torch.equal(model.backbone.norm0.weight, before[0])


def test_other_arch_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r'official checkpoint .* does not fit the HyenaFormer'):
        load(make_model(arch='hb_former_tiny'), revert_official(make_model().state_dict()), tmp_path)


@pytest.mark.parametrize('content', [{'state_dict': {'a': torch.ones(1)}, 'meta': {}}, {'message_hub': {}}])
def test_other_checkpoints_are_left_alone(content: dict):
    before = dict(content)
    hook = HOOKS.build(dict(type='mmhyena.OfficialCheckpointHook'))
    hook.after_load_checkpoint(SimpleNamespace(model=None), content)
    assert content == before


def test_comes_before_the_moving_average():
    from mmengine.hooks import EMAHook
    from mmengine.runner import get_priority

    hook = HOOKS.get('mmhyena.OfficialCheckpointHook')
    assert get_priority(hook.priority) < get_priority(EMAHook.priority)
