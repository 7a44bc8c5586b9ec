"""Whole official IBiT classifiers: recorded logits of both rolls at several sizes, and files that do not fit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmhyena.checkpoints import (
    CheckpointError,
    convert_official_ibit,
    find_family,
    official_classifier,
    official_ibit,
)
from mmhyena.layers.learned_mask_attention import roll_index
from mmhyena.registry import MODELS

GOLDEN = Path(__file__).parents[1] / 'data/golden'
VARIANTS = np.load(GOLDEN / 'ibit_variants.npz')
CASES = json.loads(VARIANTS['cases'].tobytes())
ROLLS = ('official', 'aligned')
LIMIT = 3e-4


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_tensor = load('official_weights_ibit').official_ibit_model_tensor
make_image = load('official_weights').official_image


def weights(keys: dict[str, list[int]], roll_back: Tensor | None) -> dict[str, Tensor]:
    """Return official tensors; without a ``roll_back`` the buffers are left out, as files may."""
    state = {k: torch.from_numpy(make_tensor(k, v)) for k, v in keys.items() if not k.endswith('roll_back')}
    if roll_back is not None:
        state |= {k: roll_back for k in keys if k.endswith('roll_back')}
    return state


def small(roll_back: Tensor | None = None) -> dict[str, Tensor]:
    return weights(CASES['96x96-16-96-4-5-3']['keys'], roll_back)


@torch.no_grad()
def logits(state: dict[str, Tensor], image: np.ndarray, **official_args) -> Tensor:
    pytest.importorskip('mmpretrain')
    from mmpretrain.registry import MODELS as MMPRETRAIN

    config, converted = official_classifier(state, **official_args)
    model = MMPRETRAIN.build(config).eval()
    model.load_state_dict(converted, strict=True)
    return model(torch.from_numpy(image), mode='tensor')


def relative_error(got: Tensor, want: np.ndarray) -> float:
    return float((got - torch.from_numpy(want)).norm() / np.linalg.norm(want))


@pytest.mark.parametrize('roll', ROLLS)
def test_published_size(roll, add_row):
    facts = json.loads((GOLDEN / 'ibit_model.json').read_text())
    state = weights(facts['keys'], None)
    assert sum(value.numel() for value in state.values()) == facts['params']
    size = facts['size']
    want = np.load(GOLDEN / 'ibit_model.npz')[roll]
    error = relative_error(logits(state, make_image(facts['seed'], (2, 3, size, size)), roll=roll), want)
    add_row('Parity with official classifiers', family='IBiT', model=f'ibit_tiny, {roll} roll', size=size, error=error)
    assert error < LIMIT


@pytest.mark.parametrize('with_buffers', [True, False])
@pytest.mark.parametrize(
    ('case', 'roll'), [(case, roll) for case in CASES for roll in ROLLS if f'{case}/{roll}' in VARIANTS.files]
)
def test_other_sizes(case, roll, with_buffers, add_row):
    facts, (height, width) = CASES[case], CASES[case]['img_size']
    buffer = torch.from_numpy(VARIANTS[f'{case}/roll_back']).long() if with_buffers else None
    args = dict(roll=roll)
    args |= dict(img_size=(height, width)) if height != width else {}
    args |= dict(in_channels=facts['in_channels']) if facts['in_channels'] != 3 else {}
    image = make_image(int(VARIANTS['seed']), (2, facts['in_channels'], height, width))
    error = relative_error(logits(weights(facts['keys'], buffer), image, **args), VARIANTS[f'{case}/{roll}'])
    add_row('Parity with official classifiers', family='IBiT', model=case, size=f'{height}x{width}', error=error)
    assert error < LIMIT


def test_published_roll_is_the_default():
    assert official_classifier(small())[0]['backbone']['attention']['roll'] == 'official'


@pytest.mark.parametrize('roll', ROLLS)
def test_buffers_tell_the_roll(roll):
    config, _ = official_classifier(small(roll_index(36, roll=roll)))
    assert config['backbone']['attention']['roll'] == roll


def test_architecture_comes_from_the_tensors():
    backbone = official_classifier(small())[0]['backbone']
    assert backbone['arch'] == dict(embed_dims=96, num_layers=12, num_heads=4)
    assert (backbone['img_size'], backbone['patch_size'], backbone['attention']['rank']) == (96, 16, 5)
    keys = json.loads((GOLDEN / 'ibit_model.json').read_text())['keys']
    config, _ = official_classifier(weights(keys, None))
    assert config['backbone']['arch'] == 'ibit_tiny' and config['head']['num_classes'] == 1000


def test_layouts_are_exact():
    state = small()
    ours = convert_official_ibit(state)
    assert torch.equal(ours['backbone.patch_embed.proj.weight'].flatten(1), state['scale_up.1.weight'])
    assert torch.equal(ours['backbone.cls_token'].flatten(), state['embedding'])
    q, k, v = ours['backbone.layers.3.token_mixer.qkv.weight'].chunk(3)
    for i, got in enumerate((k, q, v)):
        assert torch.equal(got, state[f'CiTBlocks.3.attention.Linears.{i}.weight'])


def spoil(how: str) -> tuple[dict[str, Tensor], dict]:
    state, args = small(), {}
    if how == 'lacks':
        del state['CiTBlocks.7.attention.mask2']
    elif how == 'lacks a norm':
        del state['CiTBlocks.7.BNorm2.weight']
    elif how == 'unknown':
        state['CiTBlocks.7.gate'] = torch.ones(1)
    elif how == 'no head':
        state = {name: value for name, value in state.items() if not name.startswith('fcn')}
    elif how == 'buffer':
        state |= {f'CiTBlocks.{i}.attention.roll_back': torch.zeros(37, 37).long() for i in range(12)}
    elif how == 'roll':
        args = dict(roll='left')
    elif how == 'size':
        args = dict(img_size=128)
    elif how == 'channels':
        args = dict(in_channels=5)
    elif how == 'argument':
        args = dict(args=dict(method='hyena2d'))
    return state, args


@pytest.mark.parametrize(
    ('how', 'message'),
    [
        ('lacks', 'block 7: the IBiT layer lacks mask2'),
        ('lacks a norm', r'1 missing \(backbone.layers.7.norm2.weight\)'),
        ('unknown', 'no counterpart: CiTBlocks.7.gate'),
        ('no head', 'has no classifier'),
        ('buffer', 'neither the official nor the aligned roll'),
        ('roll', "roll must be one of official, aligned, got 'left'"),
        ('size', 'img_size 128 has 64 patches of 16 pixels, the masks are for 36'),
        ('channels', 'no square patches of 5 channels'),
        ('argument', 'IBiT takes roll, img_size, in_channels, not args'),
    ],
)
def test_misfits_are_named(how, message):
    state, args = spoil(how)
    with pytest.raises(CheckpointError, match=message):
        official_classifier(state, **args)


def test_sizes_that_are_no_square_are_asked_for():
    facts = CASES['48x64-16-32-2-4-3']
    with pytest.raises(CheckpointError, match='masks are for 12 patches, which are no square; give img_size'):
        official_classifier(weights(facts['keys'], None))


def test_another_roll_of_the_model_is_warned_of(monkeypatch):
    lines = []
    monkeypatch.setattr(official_ibit, 'print_log', lambda message, **kwargs: lines.append(message))
    state = small()
    backbone = dict(official_classifier(state, roll='aligned')[0]['backbone'])
    family = find_family(state)
    lines.clear()
    family.convert(state, MODELS.build(dict(backbone, attention=dict(backbone['attention'], roll='official'))))
    assert not lines
    family.convert(state, MODELS.build(backbone))
    assert len(lines) == 1 and "roll='aligned'" in lines[0] and 'another roll' in lines[0]


def test_a_dense_backbone_starts_from_an_official_file(tmp_path):
    state = small()
    torch.save(state, tmp_path / 'model299.pt')
    backbone = dict(official_classifier(state)[0]['backbone'], out_type='featmap')
    backbone['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'model299.pt'))
    model = MODELS.build(backbone)
    model.init_weights()
    want = convert_official_ibit(state)
    assert all(torch.equal(value, want[f'backbone.{name}']) for name, value in model.state_dict().items())
    (feature_map,) = model.eval()(torch.zeros(1, 3, 64, 128))  # positions and masks of another grid
    assert feature_map.shape == (1, 96, 4, 8) and feature_map.isfinite().all()
