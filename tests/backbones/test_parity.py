"""The official outputs from the official weights: logits and features of every recorded model and size."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import convert_official

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden'
CASES = sorted(
    (path.stem.removeprefix('hyenapixel_'), size)
    for path in GOLDEN.glob('hyenapixel_*.npz')
    for size in {name.split('/')[0] for name in np.load(path).files if '/' in name}
)
LIMIT = 3e-4


def _load_module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


official = _load_module(GOLDEN / 'official_weights.py')
KEYS = json.loads((GOLDEN / 'hyenapixel_keys.json').read_text())


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
    assert len(CASES) == 7


@torch.no_grad()
@pytest.mark.parametrize('arch,size', CASES)
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
@pytest.mark.parametrize('arch,size', CASES)
def test_logits(arch, size, add_row):
    pytest.importorskip('mmpretrain')
    from mmpretrain.registry import MODELS

    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='mmhyena.HyenaFormer', arch=arch, out_indices=(3,), gap_before_final_norm=True),
            head=dict(type='mmhyena.MetaFormerClsHead', num_classes=1000, in_channels=512),
            _scope_='mmpretrain',
        )
    ).eval()
    model.load_state_dict(convert_official(official_weights(arch)))
    image, want = recorded(arch, size)
    error = relative_error(model(image, mode='tensor'), want['logits'])
    add_row('Parity with the official code', model=arch, size=size, output='logits', relative_error=error)
    assert error < LIMIT
