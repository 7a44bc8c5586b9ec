"""The state dict inside a checkpoint, whatever wraps it and its names."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mmhyena.checkpoints import CheckpointError, strip_prefixes, unwrap

STATE = {'a.weight': torch.ones(2), 'b.bias': torch.zeros(1)}


@pytest.mark.parametrize('wrapper', [None, 'state_dict', 'model', 'module', 'state_dict_ema', 'model_ema'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_unwrap(wrapper: str | None, prefix: str):
    state = {prefix + name: value for name, value in STATE.items()}
    unwrapped, origin = unwrap(state if wrapper is None else {wrapper: state, 'epoch': 3})
    assert unwrapped.keys() == STATE.keys()
    assert origin == (wrapper or 'the file itself')


@pytest.mark.parametrize(('weights', 'expected'), [('auto', 2.0), ('ema', 2.0), ('model', 1.0)])
def test_choice_of_the_moving_average_of_timm(weights: str, expected: float):
    checkpoint = {'state_dict': STATE, 'state_dict_ema': {name: value + 1 for name, value in STATE.items()}}
    assert unwrap(checkpoint, weights)[0]['a.weight'][0] == expected


@pytest.mark.parametrize(('weights', 'expected'), [('auto', 2.0), ('ema', 2.0), ('model', 1.0)])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_choice_of_the_moving_average_of_mmengine(weights: str, expected: float, prefix: str):
    """``EMAHook`` saves the average in ``state_dict`` and the raw weights in ``ema_state_dict``."""
    from types import SimpleNamespace

    from mmengine.hooks import EMAHook

    model = nn.BatchNorm1d(2)
    nn.init.constant_(model.weight, 1.0)
    hook = EMAHook()
    hook.ema_model = ExponentialMovingAverage(model)
    nn.init.constant_(hook.ema_model.module.weight, 2.0)
    checkpoint = {'state_dict': copy.deepcopy(model.state_dict()), 'meta': {}}
    hook.before_save_checkpoint(SimpleNamespace(), checkpoint)
    checkpoint['state_dict'] = {prefix + name: value for name, value in checkpoint['state_dict'].items()}

    state, origin = unwrap(checkpoint, weights)
    assert state.keys() == model.state_dict().keys()
    assert state['weight'][0] == expected
    assert origin == ('ema_state_dict' if weights == 'model' else 'state_dict')


def test_missing_moving_average():
    with pytest.raises(CheckpointError, match=r'no state_dict_ema or model_ema, nor ema_state_dict.*holds state_dict'):
        unwrap({'state_dict': STATE}, 'ema')


def test_unknown_choice():
    with pytest.raises(CheckpointError, match="one of auto, model, ema, got 'best'"):
        unwrap(STATE, 'best')


@pytest.mark.parametrize(
    ('checkpoint', 'message'),
    [
        ({}, 'it is empty'),
        ({'epoch': 3}, 'epoch are no tensors'),
        ({'state_dict': {}}, "'state_dict' is empty"),
        ({'state_dict': {'a': 1}}, 'a are no tensors'),
        ({'state_dict': [torch.ones(1)]}, "its 'state_dict' is a list"),
        ({'model': 'hpx_former_s18'}, "its 'model' is a str"),
    ],
)
def test_nothing_to_unwrap(checkpoint: dict, message: str):
    with pytest.raises(CheckpointError, match=f'no state dict.*{message}'):
        unwrap(checkpoint)


@pytest.mark.parametrize(
    'prefix',
    ['_orig_mod.', 'module.', 'model.', '_orig_mod.module.', 'module._orig_mod.', 'model.module._orig_mod.']
    + ['_forward_module.model.', 'model.module.model.', '_fsdp_wrapped_module._checkpoint_wrapped_module.'],
)
def test_prefixes_are_stripped(prefix: str):
    assert strip_prefixes({prefix + name: value for name, value in STATE.items()}).keys() == STATE.keys()


def test_prefixes_of_parts_are_stripped():
    state = {'module.backbone._orig_mod.a': STATE['a.weight'], 'module.head.model.b': STATE['b.bias']}
    assert list(strip_prefixes(state)) == ['backbone.a', 'head.model.b']


def test_names_that_only_some_have_are_no_prefix():
    state = {'model.a': STATE['a.weight'], 'head.b': STATE['b.bias']}
    assert strip_prefixes(state) == state
    assert strip_prefixes({}) == {}
    both = {'a': STATE['a.weight'], '_orig_mod.a': STATE['b.bias']}
    assert strip_prefixes(both) == both


def test_compiled_and_averaged_models():
    model = nn.Linear(2, 2)
    assert strip_prefixes(torch.compile(model).state_dict()).keys() == model.state_dict().keys()
    assert strip_prefixes(AveragedModel(model).state_dict()).keys() == model.state_dict().keys()
