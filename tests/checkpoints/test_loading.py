"""Pretrained weights in backbones: converted, resampled, reported, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import CheckpointError, fit_to_backbone, load_pretrained, loading, revert_official
from mmhyena.registry import MODELS

ARCH = 'hpx_former_tiny'
MAPS = dict(arch=ARCH)
POOLED = dict(arch=ARCH, out_indices=(3,), gap_before_final_norm=True)


def classifier(**backbone: object) -> nn.ModuleDict:
    """Return the parts of an mmpretrain classifier under its names, with weights that no other model has."""
    torch.manual_seed(1)
    head = nn.ModuleDict(dict(fc1=nn.Linear(192, 768), norm=nn.LayerNorm(768), fc2=nn.Linear(768, 10)))
    model = nn.ModuleDict(dict(backbone=HyenaFormer(**(POOLED | backbone)), head=head))
    for value in model.parameters():
        nn.init.normal_(value, std=0.1)
    return model


def official(model: nn.Module) -> dict[str, Tensor]:
    return revert_official(model.state_dict())


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(loading, '_log', lambda message, level=None: lines.append(message))
    return lines


@pytest.fixture
def save(tmp_path: Path) -> Iterator[Callable[[object], str]]:
    def write(content: object) -> str:
        torch.save(content, tmp_path / 'weights.pth')
        return str(tmp_path / 'weights.pth')

    return write


def build(checkpoint: str, **settings: object) -> HyenaFormer:
    config = dict(type='mmhyena.HyenaFormer', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    model = MODELS.build(config | (settings or MAPS))
    model.init_weights()
    return model


def assert_loaded(backbone: nn.Module, source: nn.Module, but_for: str = 'norm') -> None:
    got, expected = backbone.state_dict(), source.state_dict()
    for name, value in expected.items():
        if not name.startswith(but_for):
            assert torch.equal(got[name], value), name


@pytest.mark.parametrize('wrap', [lambda state: state, lambda state: {'state_dict': state, 'epoch': 1}])
def test_official_classifier_in_a_feature_extractor(save: Callable, logged: list[str], wrap: Callable):
    source = classifier()
    backbone = build(save(wrap(official(source))))
    assert_loaded(backbone, source['backbone'])
    assert torch.equal(backbone.norm3.weight, torch.ones(192)), 'the norm of the mean is not that of the map'
    (report,) = logged
    for row in ('matched', 'new', 'left out', 'head.fc1.weight', 'backbone.norm3.weight'):
        assert row in report, row
    assert [report.count(f'norm{i}.bias') for i in range(3)] == [1, 1, 1], 'what is new is listed once'


def test_official_classifier_in_a_classifier(save: Callable):
    source = classifier()
    backbone = build(save(official(source)), **POOLED)
    assert_loaded(backbone, source['backbone'], but_for='no exception')


def test_official_feature_extractor(save: Callable, logged: list[str]):
    source = nn.ModuleDict(dict(backbone=HyenaFormer(**MAPS)))
    for value in source.parameters():
        nn.init.normal_(value)
    backbone = build(save(official(source)))
    assert_loaded(backbone, source['backbone'], but_for='no exception')
    assert 'new' not in logged[0]


@pytest.mark.parametrize('prefix', [None, 'backbone', 'backbone.'])
def test_our_classifier(save: Callable, prefix: str | None):
    source = classifier()
    config = dict(type='Pretrained', checkpoint=save(dict(meta={}, state_dict=source.state_dict())), prefix=prefix)
    backbone = HyenaFormer(**MAPS, init_cfg=[dict(type='Constant', layer='LayerNorm', val=2.0), config])
    backbone.init_weights()
    assert_loaded(backbone, source['backbone'])
    assert backbone.norm0.weight[0] == 2, 'other initializers still work'
    assert backbone.init_cfg[1] == config


def test_our_backbone_alone(save: Callable):
    source = classifier()['backbone']
    assert_loaded(build(save(source.state_dict()), **POOLED), source, but_for='no exception')


def test_nested_prefix(save: Callable):
    source = classifier()
    file = save({f'model.{name}': value for name, value in source.state_dict().items()})
    backbone = HyenaFormer(**MAPS)
    load_pretrained(backbone, file, prefix='model.backbone')
    assert_loaded(backbone, source['backbone'])


def test_in_a_model(save: Callable):
    """The backbone's own weights come last, whatever the model around it does."""
    from mmengine.model import BaseModule

    source = classifier()
    model = BaseModule(init_cfg=dict(type='Constant', layer='Linear', val=0.0))
    init_cfg = dict(type='Pretrained', checkpoint=save(official(source)))
    model.add_module('backbone', HyenaFormer(**MAPS, init_cfg=init_cfg))
    model.init_weights()
    assert_loaded(model.backbone, source['backbone'])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('backbone.stages.0.0.norm1.weight'), '1 missing .*stages.0.0.norm1.weight'),
        (lambda state: state.update({'backbone.stages.7.norm1.weight': torch.ones(1)}), '1 unexpected'),
        (lambda state: state.update({'backbone.stages.0.0.norm1.weight': torch.ones(5)}), '1 of another shape'),
    ],
)
def test_poor_match_is_refused_and_changes_nothing(save: Callable, change: Callable, message: str):
    state = dict(classifier().state_dict())
    change(state)
    backbone = HyenaFormer(**MAPS, init_cfg=dict(type='Pretrained', checkpoint=save(state)))
    before = copy.deepcopy(backbone.state_dict())
    with pytest.raises(CheckpointError, match=message):
        backbone.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_other_arch_is_refused(save: Callable):
    with pytest.raises(CheckpointError, match='does not fit this HyenaFormer'):
        build(save(official(classifier())), arch='hb_former_tiny')


def test_other_names_are_refused(save: Callable):
    with pytest.raises(CheckpointError, match=r"nothing under 'encoder\.'"):
        load_pretrained(HyenaFormer(**MAPS), save(classifier().state_dict()), prefix='encoder')
    state = official(classifier()) | {'stages.0.0.token_mixer.surprise': torch.ones(1)}
    with pytest.raises(CheckpointError, match='no counterpart'):
        fit_to_backbone(state, HyenaFormer(**MAPS))


LARGE = dict(HyenaFormer.arch_settings[ARCH])
LARGE['token_mixers'] = [
    dict(mixer, kernel_size=2 * mixer['kernel_size'] - 1) for mixer in HyenaFormer.arch_settings[ARCH]['token_mixers']
]


def test_larger_kernels_are_resampled(save: Callable, logged: list[str]):
    source = classifier()
    backbone = build(save(official(source)), arch=LARGE)
    table = backbone.stages[0][0].token_mixer.long_conv.filter.position.table
    assert table.shape == (125, 125, 16)
    torch.testing.assert_close(
        table[::2, ::2], source['backbone'].stages[0][0].token_mixer.long_conv.filter.position.table
    )
    assert '63x63 to 125x125 taps' in logged[0].replace('\n', '')


def test_resumed_run_resamples_as_well(logged: list[str]):
    """``load_state_dict`` is what ``load_from`` and ``resume`` end in."""
    source = classifier()
    target = classifier(arch=LARGE)
    target.load_state_dict(source.state_dict())
    direct, _ = fit_to_backbone(source.state_dict(), target['backbone'])
    for name in direct:
        if not name.startswith('norm'):
            assert torch.equal(target['backbone'].state_dict()[name], direct[name]), name
    assert len(logged) == 1 and 'resampled' in logged[0]


def test_same_size_is_loaded_as_it_is(logged: list[str]):
    source, target = classifier(), classifier()
    target.load_state_dict(source.state_dict())
    assert not logged


def test_checkpoint_without_a_backbone_is_told(logged: list[str]):
    model = classifier()
    model.load_state_dict(official(model), strict=False)
    assert len(logged) == 1 and 'official_to_mmhyena.py' in logged[0]


def test_k191_has_the_published_size():
    """33.05M with the frozen distances (reference implementation at 384)."""
    with torch.device('meta'):
        backbone = HyenaFormer('hpx_former_s18_k191', out_indices=(3,), gap_before_final_norm=True)
    head = 512 * 2048 + 2048 + 2 * 2048 + 2048 * 1000 + 1000
    total = sum(value.numel() for value in backbone.state_dict().values()) + head
    assert f'{total / 1e6:.2f}' == '33.05'
    assert [stage[0].token_mixer.long_conv.kernel_size[0] for stage in backbone.stages] == [191, 95, 47, 23]


def test_image_classifier_reads_official_weights(save: Callable):
    """``load_from`` of an mmpretrain run reaches the classifier this way."""
    pytest.importorskip('mmpretrain')
    from mmengine.runner import load_checkpoint
    from mmpretrain.models import ImageClassifier

    head = dict(type='mmhyena.MetaFormerClsHead', num_classes=10, in_channels=192)
    head['loss'] = dict(type='mmpretrain.CrossEntropyLoss')
    model = ImageClassifier(backbone=dict(type='mmhyena.HyenaFormer', **POOLED), head=head)
    source = classifier()
    load_checkpoint(model, save(official(source)), strict=True)
    assert_loaded(model, source, but_for='no exception')
