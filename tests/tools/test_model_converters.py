"""The converter of official checkpoints, as a command."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmhyena.apis.convert import arch_shapes
from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import convert_official, read_checkpoint, revert_official

ROOT = Path(__file__).parents[2]
KEYS = json.loads((ROOT / 'tests/data/golden/hyenapixel_keys.json').read_text())
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


def load(path: str) -> object:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


main: Callable[[list[str]], int] = load('tools/model_converters/official_to_mmhyena.py').main


def official(arch: str, features: bool = False) -> dict[str, Tensor]:
    """Return a state dict of official names and shapes, every tensor with a value of its own and small on disk."""
    if arch in KEYS:
        shapes = KEYS[f'{arch}/features' if features else arch]
    else:
        norm = {f'backbone.norm{i}.weight' for i in range(4)} if features else {'head.fc2.weight'}
        ours = arch_shapes(arch, {name: torch.empty(1000, device='meta') for name in norm})
        shapes = {
            k: v.shape for k, v in revert_official({k: torch.empty(v, device='meta') for k, v in ours.items()}).items()
        }
    return {name: torch.tensor(float(i)).expand(tuple(shape)) for i, (name, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize(
    ('arch', 'features'), [(arch, False) for arch in PUBLISHED] + [('hpx_former_s18', True), ('hb_former_s18', True)]
)
def test_there_and_back(arch: str, features: bool, tmp_path: Path, capsys: pytest.CaptureFixture):
    state = official(arch, features)
    torch.save(state, tmp_path / 'official.pth')
    assert main([str(tmp_path / 'official.pth'), str(tmp_path / 'ours.pth')]) == 0
    assert f'against {arch}:' in capsys.readouterr().out

    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert ours['meta']['arch'] == arch
    with torch.device('meta'):
        backbone = HyenaFormer(arch, out_indices=(0, 1, 2, 3) if features else (3,))
    assert {k.removeprefix('backbone.') for k in ours['state_dict'] if k.startswith('backbone.')} == set(
        backbone.state_dict()
    )

    assert main([str(tmp_path / 'ours.pth'), str(tmp_path / 'back.pth'), '--reverse']) == 0
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert list(back) == list(state)
    for name, value in state.items():
        assert back[name].shape == value.shape and back[name].dtype == value.dtype, name
        assert torch.equal(back[name], value), name


def test_safetensors_there_and_back(tmp_path: Path):
    pytest.importorskip('safetensors')
    state = official('c_hpx_former_s18')
    torch.save(state, tmp_path / 'official.pth')
    assert main([str(tmp_path / 'official.pth'), str(tmp_path / 'ours.safetensors')]) == 0
    ours = read_checkpoint(tmp_path / 'ours.safetensors')
    assert ours['meta']['arch'] == 'c_hpx_former_s18'
    expected = convert_official(state)
    assert all(torch.equal(ours['state_dict'][name], value) for name, value in expected.items())
    assert main([str(tmp_path / 'ours.safetensors'), str(tmp_path / 'back.safetensors'), '--reverse']) == 0
    back = read_checkpoint(tmp_path / 'back.safetensors')
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    assert sorted(file.name for file in tmp_path.iterdir()) == ['back.safetensors', 'official.pth', 'ours.safetensors']


@pytest.fixture
def ema_file(tmp_path: Path) -> str:
    state = official('c_hpx_former_s18')
    average = {f'module.{name}': (value.flatten()[0] + 0.5).expand(value.shape) for name, value in state.items()}
    args = argparse.Namespace(model='c_hpx_former_s18')
    torch.save({'state_dict': state, 'state_dict_ema': average, 'args': args, 'epoch': 9}, tmp_path / 'ema.pth')
    return str(tmp_path / 'ema.pth')


@pytest.mark.parametrize(('weights', 'offset'), [('auto', 0.5), ('ema', 0.5), ('model', 0.0)])
def test_choice_of_weights(ema_file: str, weights: str, offset: float, tmp_path: Path):
    assert main([ema_file, str(tmp_path / 'out.pth'), '--weights', weights]) == 0
    ours = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']
    expected = convert_official(official('c_hpx_former_s18'))
    assert all(torch.equal(ours[name], value + offset) for name, value in expected.items())


def spoil(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    if how == 'lacks':
        del state['stages.3.2.mlp.fc1.weight']
    elif how == 'unknown name':
        state['stages.3.2.mlp.fc3.weight'] = torch.ones(1)
    elif how == 'shape':
        state['stages.3.2.mlp.fc1.weight'] = torch.ones(5, 5)
    elif how == 'truncated':
        state = dict(list(state.items())[:100])
    return state


@pytest.mark.parametrize(
    ('how', 'message'),
    [
        ('lacks', '1 missing (backbone.stages.3.2.mlp.fc1.weight)'),
        ('unknown name', 'no counterpart: stages.3.2.mlp.fc3.weight'),
        ('shape', '1 of another shape (backbone.stages.3.2.mlp.fc1.weight)'),
        ('truncated', 'missing'),
    ],
)
def test_poor_match_is_refused(how: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    torch.save(spoil(official('hpx_a_former_s18'), how), tmp_path / 'official.pth')
    assert main([str(tmp_path / 'official.pth'), str(tmp_path / 'ours.pth')]) != 0
    errors = capsys.readouterr().err
    assert message in errors and errors.count('\n') == 1
    assert [file.name for file in tmp_path.iterdir()] == ['official.pth']


def test_other_arch_is_refused_with_a_table(tmp_path: Path, capsys: pytest.CaptureFixture):
    torch.save(official('hpx_former_s18'), tmp_path / 'official.pth')
    source, target = str(tmp_path / 'official.pth'), tmp_path / 'ours.pth'
    assert main([source, str(target), '--arch', 'hpx_former_s18_k191']) != 0
    output, errors = capsys.readouterr()
    assert 'does not fit hpx_former_s18_k191' in errors and 'nothing was written' in errors
    assert 'wrong shape' in output and '111x111x32 for 191x191x32' in output
    assert not target.exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['ours.pth', 'out.pth'], '--reverse converts it'),
        (['official.pth', 'out.pth', '--reverse'], 'drop --reverse'),
        (['missing.pth', 'out.pth'], 'does not exist'),
        (['missing.pth', 'ours.pth', '--force'], 'does not exist'),
        (['official.pth', 'ours.pth'], '--force replaces it'),
        (['official.pth', 'official.pth', '--force'], 'is the source'),
        (['official.pth', 'out.pth', '--arch', 'resnet50'], "arch 'resnet50' is unknown"),
        (['official.pth', 'out.pth', '--weights', 'ema'], 'no state_dict_ema'),
        (['other.pth', 'out.pth'], 'no official HyenaPixel'),
    ],
)
def test_wrong_use(arguments: list[str], message: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(tmp_path)
    state = official('hb_a_former_s18')
    torch.save(state, 'official.pth')
    torch.save({'state_dict': convert_official(state)}, 'ours.pth')
    torch.save({'conv1.weight': torch.ones(1)}, 'other.pth')
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert main(arguments) != 0
    assert message in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


GOLDEN = ROOT / 'tests/data/golden'


def test_ibit(tmp_path: Path, capsys: pytest.CaptureFixture):
    keys = json.loads((GOLDEN / 'ibit_model.json').read_text())['keys']
    state = {name: torch.zeros(()).expand(shape) for name, shape in keys.items() if not name.endswith('roll_back')}
    torch.save(state, tmp_path / 'model299.pt')
    assert main([str(tmp_path / 'model299.pt'), str(tmp_path / 'ours.pth'), '--roll', 'aligned']) == 0
    assert 'against ibit_tiny:' in capsys.readouterr().out
    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert ours['meta']['model']['backbone']['attention']['roll'] == 'aligned'
    assert 'backbone.layers.11.token_mixer.mask_rows' in ours['state_dict']


def test_hyena_nd(tmp_path: Path, capsys: pytest.CaptureFixture):
    facts = json.loads((GOLDEN / 'hyena_nd_model.json').read_text())['joint_seq']
    state = {name: torch.zeros(shape) for name, shape in facts['keys'].items()}
    for name in state:
        if name.endswith('pos_emb.t'):
            state[name] = torch.linspace(0, 1, 14)[None, :, None]
    source, target = str(tmp_path / 'official.pth'), str(tmp_path / 'ours.pth')
    torch.save({'model': state, 'args': argparse.Namespace(**facts['args'], lr=1e-3)}, source)

    def direction() -> str:
        backbone = torch.load(target, weights_only=True)['meta']['model']['backbone']
        return backbone['hyena']['direction']['type']

    assert main([source, target]) == 0
    assert direction() == 'AlternatingDirection'  # as the arguments in the checkpoint say
    options = ['directional_mode=standard', 'hyena2d_sqrt_decay=True']
    assert main([source, target, '--force', '--args', *options]) == 0
    assert direction() == 'CausalDirection'
    assert main([source, target, '--force', '--args', 'window_mode=learn']) != 0
    assert "window_mode='learn' contradicts the tensors" in capsys.readouterr().err
    assert main([source, target, '--force', '--roll', 'official']) != 0
