"""Whole official Hyena N-D classifiers: recorded logits of every method, filter, window and direction, and misfits."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmhyena.checkpoints import CheckpointError, official_classifier, official_nd_model

GOLDEN = Path(__file__).parents[1] / 'data/golden'
MODELS = json.loads((GOLDEN / 'hyena_nd_model.json').read_text())
MODEL_LOGITS = np.load(GOLDEN / 'hyena_nd_model.npz')
VARIANT_LOGITS = np.load(GOLDEN / 'hyena_nd_variants.npz')
VARIANTS = json.loads(VARIANT_LOGITS['cases'].tobytes())
LIMIT = 3e-4


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_tensor = load('official_weights_nd').official_nd_tensor
make_image = load('official_weights').official_image


def weights(keys: dict[str, list[int]]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(make_tensor(key, shape)) for key, shape in keys.items()}


@torch.no_grad()
def relative_error(state: dict[str, Tensor], args: dict, image: np.ndarray, want: np.ndarray) -> float:
    pytest.importorskip('mmpretrain')
    from mmpretrain.registry import MODELS

    config, converted = official_classifier(state, args=args)
    model = MODELS.build(config).eval()
    model.load_state_dict(converted, strict=True)
    got = model(torch.from_numpy(image), mode='tensor')
    return float((got - torch.from_numpy(want)).norm() / np.linalg.norm(want))


@pytest.mark.parametrize('case', MODELS)
def test_published_sizes(case, add_row):
    facts = MODELS[case]
    state, size = weights(facts['keys']), facts['size']
    image = make_image(int(MODEL_LOGITS['seed']), (2, 3, size, size))
    error = relative_error(state, facts['args'], image, MODEL_LOGITS[case])
    add_row('Parity with official classifiers', family='Hyena N-D', model=case, size=size, error=error)
    assert error < LIMIT


def _is_quick(case: str) -> bool:
    """One of each method, filter, window and direction, and what is beside them; the product of all is slow."""
    method, *rest = case.split('-')
    return (
        (method in ('onebyone', 'attnhyena2d') and rest[-1] == 'seq') or rest[:2] == ['joint', 'learn'] or len(rest) < 3
    )


@pytest.mark.parametrize('case', [pytest.param(c, marks=() if _is_quick(c) else pytest.mark.slow) for c in VARIANTS])
def test_every_variant(case, add_row):
    facts = VARIANTS[case]
    args = facts['args'] | dict(num_heads=facts['heads'])
    size, channels = facts['size'], facts['in_channels']
    image = make_image(int(VARIANT_LOGITS['seed']), (2, channels, size, size))
    error = relative_error(weights(facts['keys']), args, image, VARIANT_LOGITS[case])
    add_row('Parity with official classifiers', family='Hyena N-D', model=case, size=size, error=error)
    assert error < LIMIT


def test_variants_are_every_method_filter_window_and_direction():
    parts = [case.split('-') for case in VARIANTS]
    full = [part for part in parts if len(part) == 4]
    assert {part[0] for part in full} == {'hyena2d', 'hyena2dattn', 'attnhyena2d', 'onebyone'}
    assert {part[3] for part in full} == {'standard', 'seq', '4dir', '4dirp', 'parallel'}
    assert {part[1] for part in full} == {'joint', 'product', 'direct'}
    assert {part[2] for part in full} == {'standard', 'learn', 'symettric', 'no', 'sqrt'}
    assert len(full) == 4 * 5 * (5 + 4 + 1)  # the product filter has no symmetric window, the direct one none at all


def seq() -> dict[str, Tensor]:
    return weights(MODELS['joint_seq']['keys'])


def test_architecture_comes_from_the_tensors():
    config, _ = official_classifier(seq(), args=dict(directional_mode='seq', hyena2d_sqrt_decay=False))
    backbone = config['backbone']
    assert (backbone['arch'], backbone['img_size'], backbone['patch_size']) == ('deit_tiny', 224, 16)
    assert backbone['token_mixers'] == 'hyena' and backbone['out_type'] == 'first_token'
    assert backbone['hyena']['direction']['type'] == 'AlternatingDirection'
    assert config['head'] == dict(type='LinearClsHead', num_classes=1000, in_channels=192)


def test_arguments_of_a_checkpoint_may_hold_everything_about_training():
    args = dict(MODELS['joint_seq']['args'], lr=5e-4, model='deit_tiny_patch16_224', batch_size=256)
    state = seq()
    assert (
        official_classifier(state, args=argparse.Namespace(**args))[0]
        == official_classifier(state, args=MODELS['joint_seq']['args'])[0]
    )


def test_what_the_tensors_leave_open_is_said(monkeypatch):
    lines = []
    monkeypatch.setattr(official_nd_model, 'print_log', lambda message, **kwargs: lines.append(message))
    official_classifier(seq())
    assert len(lines) == 1 and "directional_mode='standard', hyena2d_sqrt_decay=False" in lines[0]
    official_classifier(seq(), args=dict(directional_mode='seq', hyena2d_sqrt_decay=False))
    assert len(lines) == 1


def spoil(how: str) -> tuple[dict[str, Tensor], dict]:
    state, args = seq(), dict(directional_mode='seq', hyena2d_sqrt_decay=False)
    if how == 'lacks':
        del state['blocks.5.attn.in_proj.bias']
    elif how == 'lacks positions':
        del state['pos_embed']
    elif how == 'lacks a norm':
        del state['blocks.5.norm2.bias']
    elif how == 'unknown':
        state['blocks.5.attn.gate'] = torch.ones(1)
    elif how == 'shell':
        state['cls_token'] = torch.zeros(1, 1, 192)
    elif how == 'class token':
        state['pos_embed'] = torch.zeros(1, 197, 192)
    elif how == 'no head':
        del state['head.weight'], state['head.bias']
    elif how == 'blocks':
        state = {name: value for name, value in state.items() if not name.startswith('blocks.3.attn.')}
    elif how == 'argument':
        args['window'] = 'learn'
    elif how == 'roll':
        return state, dict(roll='official')
    else:
        name, value = how.split('=')
        args[name] = {'True': True, 'False': False}.get(value, value)
    return state, dict(args=args)


@pytest.mark.parametrize(
    ('how', 'message'),
    [
        ('lacks', 'block 5: official Hyena N-D weights lack in_proj.bias'),
        ('lacks positions', 'lacks pos_embed'),
        ('lacks a norm', r'1 missing \(backbone.layers.5.norm2.bias\)'),
        ('unknown', 'block 5: 1 keys of the operator have no counterpart: gate'),
        ('shell', '1 keys of the official Hyena N-D have no counterpart: cls_token'),
        ('class token', 'pos_embed has 197 positions, which are no square'),
        ('no head', 'has no classifier'),
        ('blocks', 'no official method has Hyena in the blocks 0, 1, 2, 4'),
        ('argument', 'unknown arguments of the official Hyena N-D: window; choose from'),
        ('roll', 'Hyena N-D takes args, not roll'),
        ('method=onebyone', "method='onebyone' contradicts the tensors, which are those of 'hyena2d'"),
        ('window_mode=learn', "window_mode='learn' contradicts the tensors, which are those of 'standard'"),
        ('directional_mode=4dir', "directional_mode='4dir' contradicts the tensors; they leave 'standard' or 'seq'"),
        ('hyena2d_filter=False', 'hyena2d_filter=False contradicts the tensors'),
        ('use_cls_token=True', 'use_cls_token=True contradicts the tensors'),
    ],
)
def test_misfits_are_named(how, message):
    state, args = spoil(how)
    with pytest.raises(CheckpointError, match=message):
        official_classifier(state, **args)


def test_heads_of_unknown_widths_are_asked_for():
    facts = VARIANTS['onebyone-joint-standard-standard']
    with pytest.raises(CheckpointError, match='do not tell the heads of 32 channels; give num_heads'):
        official_classifier(weights(facts['keys']), args=facts['args'])
