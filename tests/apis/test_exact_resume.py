"""A run goes on from a checkpoint in which every tensor fits, or ends with one line, whatever its runner."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmhyena.apis import train
from mmhyena.datasets.shapes import generate_shapes
from mmhyena.errors import UserError

CONFIG = Path(__file__).parents[2] / 'configs/shapes/hpx-former-tiny_shapes.py'
SLOW = pytest.mark.slow
RUNNERS = pytest.mark.parametrize('runner', [pytest.param('Runner', marks=SLOW), 'FlexibleRunner'])


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    pytest.importorskip('mmpretrain')
    root = tmp_path_factory.mktemp('data') / 'shapes'
    generate_shapes(root, train=1, val=1, size=64, cls_train=1, cls_val=1, cls_size=32, seed=0)
    return root / 'classification'


def go_on(data: Path, work_dir: Path, runner: str, epochs: int, resume: str | None = None):
    options = {'train_cfg.max_epochs': epochs, 'param_scheduler': None, 'runner_type': runner}
    for split in ('train', 'val'):
        options |= {f'{split}_dataloader.{key}': value for key, value in dict(num_workers=0, batch_size=5).items()}
        options[f'{split}_dataloader.dataset.data_root'] = str(data)
    return train(CONFIG, work_dir=str(work_dir), resume=resume, cfg_options=options)


@RUNNERS
def test_a_whole_checkpoint_is_resumed(runner, data, tmp_path):
    go_on(data, tmp_path, runner, 1)
    assert go_on(data, tmp_path, runner, 2, 'auto').epoch == 2


@RUNNERS
@pytest.mark.parametrize(
    'damage', ['missing', pytest.param('unexpected', marks=SLOW), pytest.param('shape', marks=SLOW)]
)
def test_a_tensor_that_does_not_fit(runner, damage, data, tmp_path):
    go_on(data, tmp_path / 'first', runner, 1)
    checkpoint = torch.load(tmp_path / 'first/epoch_1.pth', weights_only=False)
    state = checkpoint['state_dict']
    name = 'head.fc.weight' if 'head.fc.weight' in state else next(name for name in reversed(state) if 'weight' in name)
    if damage == 'unexpected':
        state['head.other'] = torch.ones(1)
    elif damage == 'missing':
        del state[name]
    else:
        state[name] = state[name].new_ones(7, *state[name].shape[1:])
    file = tmp_path / 'damaged.pth'
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match=rf'checkpoint {file}.*use the config it was trained with') as error:
        go_on(data, tmp_path / 'second', runner, 2, str(file))
    assert ('head.other' if damage == 'unexpected' else name) in str(error.value)
