"""One comparison of a checkpoint with a whole model."""

from __future__ import annotations

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmhyena.checkpoints import CheckpointError, compare, fit_to_model


def convnet(classes: int = 3) -> nn.Module:
    """A model of no backbone of ours, with batch norms."""
    model = nn.Module()
    model.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.head = nn.Linear(4, classes)
    return model


def require(model: nn.Module, state: dict, **rule: object) -> dict:
    fitted, report = fit_to_model(state, model, **rule)
    report.require_fit('it', 'the model')
    return fitted


def test_counts_are_true():
    """Of a checkpoint without any tensor of the model, no counter of a batch norm matches."""
    model = convnet()
    with pytest.raises(CheckpointError, match='0 of 9 tensors match, 8 missing'):
        require(model, {'a': torch.ones(1)}, exact=True)
    state = {name: value for name, value in model.state_dict().items() if name.startswith('backbone.0')}
    with pytest.raises(CheckpointError, match='2 of 9 tensors match, 6 missing'):
        require(model, state, exact=True)


@pytest.mark.parametrize('exact', [True, False])
def test_counters_of_batch_norms_may_be_missing(exact: bool):
    model = convnet()
    state = {name: value for name, value in model.state_dict().items() if 'num_batches' not in name}
    model.load_state_dict(require(model, state, exact=exact), strict=False)


def test_start_takes_the_backbone_and_what_fits():
    source, model = convnet(7), convnet(3)
    state = source.state_dict() | {'neck.weight': torch.ones(1)}
    fitted, report = fit_to_model(state, model, exact=False)
    assert all(name.startswith('backbone.') for name in fitted) and len(fitted) == 7
    assert set(report.new) == {'head.weight', 'head.bias'}
    assert set(report.left_out) == {'head.weight', 'head.bias', 'neck.weight'}
    with pytest.raises(CheckpointError, match=r'1 unexpected.*2 of another shape'):
        require(model, state, exact=True)


@pytest.mark.parametrize('prefix', ['', 'model.'])
def test_prefix_of_the_model_is_kept(prefix: str):
    """timm's and Hugging Face's classifiers in mmpretrain hold everything in ``model``."""
    model = nn.ModuleDict(dict(model=convnet()))
    state = {name.removeprefix('model.'): value for name, value in model.state_dict().items()}
    fitted = require(model, {prefix + name: value for name, value in state.items()}, exact=True)
    assert fitted.keys() == model.state_dict().keys()


def test_model_without_a_backbone_needs_half_of_its_tensors():
    head = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    state = {name: value for name, value in head.state_dict().items() if name.startswith('0.')}
    assert require(head, state, exact=False).keys() == {'0.weight', '0.bias'}
    with pytest.raises(CheckpointError, match='1 of 4 tensors match'):
        require(head, {'0.weight': state['0.weight']}, exact=False)


class Adapting(nn.Linear):
    """Takes weights of any number of outputs, as backbones with tables of positions do."""

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        state_dict[prefix + 'weight'] = state_dict[prefix + 'weight'][: self.out_features]
        super()._load_from_state_dict(state_dict, prefix, *args)


@pytest.mark.parametrize('exact', [True, False])
def test_what_the_model_adapts_itself_fits(exact: bool):
    model = nn.ModuleDict(dict(backbone=Adapting(2, 2, bias=False)))
    fitted, report = fit_to_model({'backbone.weight': torch.ones(5, 2)}, model, exact=exact)
    assert report.fits and list(report.resampled) == ['backbone.weight']
    assert fitted['backbone.weight'].shape == (5, 2)
    assert torch.equal(model['backbone'].weight, torch.ones(2, 2))


def test_counters_are_not_matched_in_the_comparison():
    shapes = {'bn.num_batches_tracked': (), 'bn.weight': (4,)}
    report = compare({}, shapes)
    assert (report.found, report.total, report.missing) == (0, 2, ['bn.weight'])


class Head(BaseModule):
    """A head of some toolkit."""

    def __init__(self, init_cfg: dict) -> None:
        super().__init__(init_cfg)
        self.fc = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)


@pytest.mark.parametrize('prefix', [None, 'roi_head'])
def test_init_cfg_of_any_module_refuses_a_poor_match(prefix: str | None, tmp_path):
    state = {name: value + 1 for name, value in Head(None).state_dict().items()}
    whole = state if prefix is None else {f'{prefix}.{name}': value for name, value in state.items()}
    torch.save(whole, tmp_path / 'good.pth')
    torch.save({'conv.weight': torch.ones(1)}, tmp_path / 'bad.pth')
    head = Head(dict(type='Pretrained', checkpoint=str(tmp_path / 'good.pth'), prefix=prefix))
    head.init_weights()
    assert torch.equal(head.fc.weight, state['fc.weight'])
    head = Head(dict(type='Pretrained', checkpoint=str(tmp_path / 'bad.pth')))
    with pytest.raises(CheckpointError, match=r'bad\.pth does not fit this Head: 0 of 7 tensors match'):
        head.init_weights()


def test_init_cfg_of_any_module_runs_no_code(hostile):
    with pytest.raises(CheckpointError, match='cannot be read'):
        Head(dict(type='Pretrained', checkpoint=str(hostile))).init_weights()
