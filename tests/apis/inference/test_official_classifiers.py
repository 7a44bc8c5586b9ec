"""Official IBiT and Hyena N-D checkpoints as they are, through the inferencer: the official logits."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip('mmpretrain')

from mmhyena.apis import Inferencer
from mmhyena.checkpoints import official_classifier

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / 'tests/data/golden'
LIMIT = 3e-4


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_image = load('official_weights').official_image


@torch.no_grad()
def check(inferencer: Inferencer, image: np.ndarray, want: np.ndarray) -> None:
    got: Tensor = inferencer.model(torch.from_numpy(image), mode='tensor')
    assert (got - torch.from_numpy(want)).norm() <= LIMIT * np.linalg.norm(want)
    (result,) = inferencer(np.full((300, 260, 3), 90, np.uint8))
    assert len(result.top(5)) == 5


def test_ibit(tmp_path):
    facts = json.loads((GOLDEN / 'ibit_model.json').read_text())
    make = load('official_weights_ibit').official_ibit_model_tensor
    state = {k: torch.from_numpy(make(k, v)) for k, v in facts['keys'].items() if not k.endswith('roll_back')}
    torch.save(state, tmp_path / 'model299.pt')
    inferencer = Inferencer(ROOT / 'configs/ibit/ibit-tiny_8xb128_in1k.py', tmp_path / 'model299.pt', device='cpu')
    image = make_image(facts['seed'], (2, 3, 224, 224))
    check(inferencer, image, np.load(GOLDEN / 'ibit_model.npz')['official'])


def test_hyena_nd(tmp_path):
    facts = json.loads((GOLDEN / 'hyena_nd_model.json').read_text())['joint_seq']
    logits = np.load(GOLDEN / 'hyena_nd_model.npz')
    make = load('official_weights_nd').official_nd_tensor
    state = {key: torch.from_numpy(make(key, shape)) for key, shape in facts['keys'].items()}
    torch.save(dict(model=state, args=Namespace(**facts['args'])), tmp_path / 'best_checkpoint.pth')
    model, _ = official_classifier(state, args=facts['args'])
    config = tmp_path / 'hyena_nd.py'
    base = ROOT / 'configs/hyena_vit/hyena-vit-tiny_8xb128_in1k.py'
    config.write_text(f"_base_ = ['{base}']\nmodel = {{**{model!r}, '_delete_': True}}\n")
    inferencer = Inferencer(config, tmp_path / 'best_checkpoint.pth', device='cpu')
    image = make_image(int(logits['seed']), (2, 3, facts['size'], facts['size']))
    check(inferencer, image, logits['joint_seq'])
