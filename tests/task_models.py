"""Images, and a tiny model with random weights for each task."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmhyena.datasets.shapes import CLASSES, generate_shapes

CONFIGS = Path(__file__).parents[1] / 'configs/shapes'
NAMES = dict(
    detection='mask-rcnn_hpx-former-tiny_fpn_shapes',
    segmentation='upernet_hpx-former-tiny_shapes',
    classification='hpx-former-tiny_shapes',
)
TOOLKITS = dict(detection='mmdet', segmentation='mmseg', classification='mmpretrain')


@pytest.fixture(scope='session')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three images, 64 x 64."""
    root = tmp_path_factory.mktemp('images')
    generate_shapes(root / 'data', train=1, val=3, size=64, cls_train=1, cls_val=1, seed=0)
    return root / 'data' / 'val'


@pytest.fixture(scope='session', params=list(NAMES))
def task(request: pytest.FixtureRequest) -> str:
    """Each of the three tasks whose toolkit is installed."""
    pytest.importorskip(TOOLKITS[request.param])
    return request.param


@pytest.fixture(scope='session')
def weights(tmp_path_factory: pytest.TempPathFactory):
    """A function that saves the weights of a task's untrained model as MMEngine does, and returns the file."""
    folder = tmp_path_factory.mktemp('weights')

    def save(task: str) -> Path:
        file = folder / f'{task}.pth'
        if not file.exists():
            state = _random_state(task)
            names = ('background', *CLASSES) if task == 'segmentation' else CLASSES
            torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=names))), file)
        return file

    return save


def _random_state(task: str) -> dict[str, torch.Tensor]:
    from mmengine.registry import MODELS

    from mmhyena.apis import load_config, use_toolkit

    pytest.importorskip(TOOLKITS[task])
    cfg = load_config(CONFIGS / f'{NAMES[task]}.py')
    use_toolkit(cfg)
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    if task == 'detection':
        # Object classes above the background, so that scores pass the threshold and nothing passes by being empty.
        state['roi_head.bbox_head.fc_cls.bias'][-1] = -3
    return state


@pytest.fixture(scope='session')
def config():
    """A function that returns the config of a task's model."""
    return lambda task: CONFIGS / f'{NAMES[task]}.py'


@pytest.fixture(scope='session')
def make_inferencer(weights, config):
    """A function that returns the inferencer of a task, built once."""
    from mmhyena.apis import Inferencer

    ready: dict[str, Inferencer] = {}

    def make(task: str) -> Inferencer:
        if task not in ready:
            ready[task] = Inferencer(config(task), weights(task), device='cpu')
        return ready[task]

    return make


@pytest.fixture
def inferencer(make_inferencer, task):
    """The inferencer of each task."""
    return make_inferencer(task)
