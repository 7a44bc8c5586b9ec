"""What a run loads, by ``load_from`` or to resume."""

from __future__ import annotations

from collections.abc import Callable
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


def our_checkpoint(model: nn.Module) -> dict:
    return {'state_dict': {name: value.clone() for name, value in model.state_dict().items()}, 'meta': {'epoch': 3}}


def test_checkpoint_of_ours_with_other_classes(tmp_path: Path):
    source, model = make_model(), make_model(classes=3)
    before = model.head['fc2'].weight.clone()
    load(model, our_checkpoint(source), tmp_path)
    assert torch.equal(model.backbone.norm3.weight, source.backbone.norm3.weight)
    assert torch.equal(model.head['fc1'].weight, source.head['fc1'].weight)
    assert torch.equal(model.head['fc2'].weight, before), 'a head for other classes is new'


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'model.module._orig_mod.'])
def test_prefixes_of_training_code(prefix: str, tmp_path: Path):
    source, model = make_model(), make_model()
    state = {prefix + name: value for name, value in source.state_dict().items()}
    load(model, {'state_dict': state}, tmp_path)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in source.state_dict().items())


def test_backbone_alone(tmp_path: Path):
    source, model = make_model(), make_model()
    load(model, {'state_dict': source.backbone.state_dict()}, tmp_path)
    assert torch.equal(model.backbone.norm3.weight, source.backbone.norm3.weight)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: {'a': torch.ones(1)}, r'0 of \d+ tensors match, \d+ missing'),
        (lambda state: dict(list(state.items())[:10]), r'10 of \d+ tensors match, \d+ missing'),
        (lambda state: {k: v for k, v in state.items() if 'head' in k}, r'6 of \d+ tensors match'),
        (lambda state: state | {'backbone.stages.0.9.norm1.weight': torch.ones(1)}, '1 unexpected'),
        (lambda state: state | {'backbone.stages.0.0.norm1.weight': torch.ones(1)}, '1 of another shape'),
    ],
)
def test_poor_match_is_refused(change: Callable, message: str, tmp_path: Path):
    content = our_checkpoint(make_model())
    content['state_dict'] = change(content['state_dict'])
    with pytest.raises(CheckpointError, match=f'does not fit the HyenaFormer of this config: .*{message}'):
        load(make_model(), content, tmp_path)


def test_what_is_declared_new_may_be_new(tmp_path: Path):
    source, model = make_model(), make_model()
    model.backbone.stages[0][0].adapter = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r'2 missing \(backbone\.stages\.0\.0\.adapter\.weight'):
        load(model, our_checkpoint(source), tmp_path)
    load(model, our_checkpoint(source), tmp_path, new=[r'\.adapter\.'])
    assert torch.equal(model.backbone.norm3.weight, source.backbone.norm3.weight)


@pytest.mark.parametrize(('weights', 'value'), [('auto', 2.0), ('model', 1.0)])
def test_average_of_mmengine(weights: str, value: float, tmp_path: Path):
    model = make_model()
    average = {name: torch.full_like(tensor, 2.0) for name, tensor in model.state_dict().items()}
    raw = {f'module.{name}': torch.full_like(tensor, 1.0) for name, tensor in model.state_dict().items()}
    content = {'state_dict': average, 'ema_state_dict': raw | {'steps': torch.tensor(3)}, 'meta': {}}
    load(model, content, tmp_path, weights=weights)
    assert model.backbone.norm3.weight[0] == value


def test_resumed_checkpoint_has_to_fit_exactly():
    hook = HOOKS.build(dict(type='mmhyena.OfficialCheckpointHook'))
    model = make_model()
    content = our_checkpoint(make_model())
    before = dict(content)
    hook.after_load_checkpoint(SimpleNamespace(model=model, _resume=True), content)
    assert content == before
    content['state_dict'].pop('head.fc2.weight')
    with pytest.raises(CheckpointError, match=r'1 missing \(head\.fc2\.weight\); resume with the config'):
        hook.after_load_checkpoint(SimpleNamespace(model=model, _resume=True), content)


def test_checkpoint_without_weights_is_refused():
    hook = HOOKS.build(dict(type='mmhyena.OfficialCheckpointHook'))
    with pytest.raises(CheckpointError, match='no state dict'):
        hook.after_load_checkpoint(SimpleNamespace(model=make_model()), {'message_hub': {}})


def test_comes_before_the_moving_average():
    from mmengine.hooks import EMAHook
    from mmengine.runner import get_priority

    hook = HOOKS.get('mmhyena.OfficialCheckpointHook')
    assert get_priority(hook.priority) < get_priority(EMAHook.priority)


class Renaming(nn.Module):
    """A head that takes its weights under other names than it gives them, as mmpretrain's ``TimmClassifier`` does."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        for name in [name for name in state_dict if name.startswith(prefix)]:
            state_dict[prefix + 'inner.' + name.removeprefix(prefix)] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)


@pytest.mark.parametrize('resume', [False, True])
def test_tensors_that_a_module_renames_are_an_error(resume: bool):
    hook = HOOKS.build(dict(type='mmhyena.OfficialCheckpointHook'))
    model = make_model()
    model.head = Renaming()
    runner = SimpleNamespace(model=model, _resume=resume, _load_from='start.pth')
    with pytest.raises(CheckpointError, match=r'start\.pth: 2 tensors are not taken by a module that renames them'):
        hook.after_load_checkpoint(runner, our_checkpoint(model))
