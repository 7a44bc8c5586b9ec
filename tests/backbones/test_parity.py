"""The official outputs from the official weights: logits and features of every recorded model and size."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import convert_official, revert_official

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden'
RECORDS = {path.stem.removeprefix('hyenapixel_'): path for path in sorted(GOLDEN.glob('hyenapixel_*.npz'))}
CASES = sorted(
    (arch, size)
    for arch, path in RECORDS.items()
    for size in {name.split('/')[0] for name in np.load(path).files if '/' in name}
)
# The 36-block models take several seconds a case.
PARAMETERS = [pytest.param(*case, marks=[pytest.mark.slow] if 'b36' in case[0] else []) for case in CASES]
LIMIT = 3e-4


def _load_module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


official = _load_module(GOLDEN / 'official_weights.py')


def _load_keys() -> dict[str, dict[str, list[int]]]:
    """Return the official names and shapes of every recorded model, and of its feature extractor."""
    keys = json.loads((GOLDEN / 'hyenapixel_keys.json').read_text())
    for arch, path in RECORDS.items():
        record = np.load(path)
        for name, array in ((arch, 'keys'), (f'{arch}/features', 'keys_features')):
            if array in record.files:
                entries = (entry.split() for entry in record[array].tolist())
                keys[name] = {key: [int(size) for size in shape.split('x')] for key, shape in entries}
    return keys


KEYS = _load_keys()


def official_weights(model: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(official.official_tensor(key, shape)) for key, shape in KEYS[model].items()}


def relative_error(got: torch.Tensor, want: np.ndarray) -> float:
    want = torch.from_numpy(want)
    return ((got - want).norm() / want.norm()).item()


def recorded(arch: str, size: str):
    outputs = np.load(GOLDEN / f'hyenapixel_{arch}.npz')
    height, width = map(int, size.split('x'))
    image = torch.from_numpy(official.official_image(int(outputs['seed']), (1, 3, height, width)))
    return image, {name.removeprefix(f'{size}/'): outputs[name] for name in outputs.files if name.startswith(size)}


def test_every_recorded_model_is_here():
    assert {arch for arch, _ in CASES} == {name for name in KEYS if '/' not in name}
    assert len(CASES) == 14


@pytest.mark.parametrize('arch', sorted(RECORDS))
@pytest.mark.parametrize('kind', ['', '/features'])
def test_round_trip_is_exact(arch, kind):
    weights = {
        name: torch.arange(float(np.prod(shape))).view(shape) + i
        for i, (name, shape) in enumerate(KEYS[arch + kind].items())
    }
    back = revert_official(convert_official(weights))
    assert list(back) == list(weights)
    for name, value in weights.items():
        assert back[name].shape == value.shape and torch.equal(back[name], value), name


@torch.no_grad()
@pytest.mark.parametrize('arch,size', PARAMETERS)
def test_feature_maps(arch, size, add_row):
    model = HyenaFormer(arch).eval()
    weights = convert_official(official_weights(f'{arch}/features'))
    model.load_state_dict({key.removeprefix('backbone.'): value for key, value in weights.items()})
    image, want = recorded(arch, size)
    for i, feature in enumerate(model(image)):
        assert tuple(feature.shape) == tuple(want[f'feat{i}_shape'])
        error = relative_error(feature.flatten()[torch.from_numpy(want[f'feat{i}_index'])], want[f'feat{i}_value'])
        add_row('Parity with the official code', model=arch, size=size, output=f'feature {i}', relative_error=error)
        assert error < LIMIT
        assert feature.norm().item() == pytest.approx(float(want[f'feat{i}_norm']), rel=LIMIT)


@torch.no_grad()
@pytest.mark.parametrize('arch,size', PARAMETERS)
def test_logits(arch, size, add_row):
    pytest.importorskip('mmpretrain')
    from mmpretrain.registry import MODELS

    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='mmhyena.HyenaFormer', arch=arch, out_indices=(3,), gap_before_final_norm=True),
            head=dict(type='mmhyena.MetaFormerClsHead', num_classes=1000, in_channels=768 if 'b36' in arch else 512),
            _scope_='mmpretrain',
        )
    ).eval()
    model.load_state_dict(convert_official(official_weights(arch)))
    image, want = recorded(arch, size)
    error = relative_error(model(image, mode='tensor'), want['logits'])
    add_row('Parity with the official code', model=arch, size=size, output='logits', relative_error=error)
    assert error < LIMIT
