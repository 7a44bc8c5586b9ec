"""A last batch of one sample, over which batch normalization cannot go, is dropped and said."""

from __future__ import annotations

import time

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATA_SAMPLERS, DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import BatchSampler

from mmhyena.apis.checks.building import config_errors
from mmhyena.apis.resume import make_resumable, run_training
from mmhyena.errors import UserError


@DATASETS.register_module()
class FiveVectors(torch.utils.data.Dataset):
    """Five samples."""

    def __getitem__(self, index):
        return dict(x=torch.arange(4.0) * index)

    def get_data_info(self, index):
        return dict(width=1, height=2)

    def __len__(self):
        return 5


@MODELS.register_module()
class NormalizedLine(BaseModel):
    """A layer after a normalization over the batch, or over the channels."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(dict(batch=nn.BatchNorm1d, layer=nn.LayerNorm)[norm](4), nn.Linear(4, 1))
        self.sizes: list[int] = []

    def forward(self, x, mode='loss'):
        self.sizes.append(len(x))
        return dict(loss=self.layers(x).square().mean())


@DATA_SAMPLERS.register_module()
class TwoTwoOne(BatchSampler):
    """Batches of which every third has one sample, and nothing to switch that off."""

    def __init__(self, sampler, batch_size):
        super().__init__(sampler, batch_size, drop_last=False)
        del self.drop_last

    def __iter__(self):
        yield from ([0, 1], [2, 3], [4])

    def __len__(self):
        return 3


def train(tmp_path, norm: str, batch_size: int, train_cfg: dict, **loader) -> Runner:
    cfg = Config(
        dict(
            model=dict(type='NormalizedLine', norm=norm),
            work_dir=str(tmp_path),
            train_dataloader=dict(
                batch_size=batch_size,
                dataset=dict(type='FiveVectors'),
                **(dict(sampler=dict(type='DefaultSampler', shuffle=True)) | loader),
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=train_cfg,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            experiment_name=f'single{time.monotonic_ns()}',
        )
    )
    make_resumable(cfg)
    with config_errors(cfg):
        runner = Runner.from_cfg(cfg)
        run_training(runner)
    return runner


SIZES = pytest.mark.parametrize(
    ('norm', 'batch_size', 'expected'),
    [('batch', 2, [2, 2]), ('batch', 4, [4]), ('batch', 3, [3, 2]), ('layer', 2, [2, 2, 1])],
)
LOADER = pytest.mark.parametrize('loader', [{}, dict(drop_last=False)], ids=['default', 'drop_last=False'])


@SIZES
@LOADER
def test_sizes_of_the_batches(norm, batch_size, expected, loader, tmp_path, capfd):
    runner = train(tmp_path, norm, batch_size, dict(by_epoch=True, max_epochs=2), **loader)
    assert runner.model.sizes == expected * 2
    assert runner.iter == runner.max_iters == 2 * len(expected)
    assert ('that batch is dropped' in ''.join(capfd.readouterr())) == (sum(expected) == 4)


@SIZES
@LOADER
def test_sizes_of_the_batches_of_an_iteration_loop(norm, batch_size, expected, loader, tmp_path, capfd):
    train_cfg = dict(by_epoch=False, max_iters=3 * len(expected), val_interval=100)
    runner = train(tmp_path, norm, batch_size, train_cfg, **loader)
    assert runner.model.sizes == expected * 3
    assert ('that batch is dropped' in ''.join(capfd.readouterr())) == (sum(expected) == 4)


def test_batches_that_never_end_drop_nothing(tmp_path, capfd):
    sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg = dict(by_epoch=False, max_iters=6, val_interval=100)
    runner = train(tmp_path, 'batch', 2, cfg, sampler=sampler)
    assert runner.model.sizes == [2] * 6
    assert 'dropped' not in ''.join(capfd.readouterr())


def test_batches_by_aspect_ratio(tmp_path, capfd):
    pytest.importorskip('mmdet')
    runner = train(
        tmp_path,
        'batch',
        2,
        dict(by_epoch=True, max_epochs=1),
        batch_sampler=dict(type='mmdet.AspectRatioBatchSampler'),
    )
    assert runner.model.sizes == [2, 2]


@pytest.mark.parametrize('train_cfg', [dict(by_epoch=True, max_epochs=2), dict(by_epoch=False, max_iters=9)])
def test_a_single_sample_in_the_middle_of_a_run_is_one_line(train_cfg, tmp_path):
    with pytest.raises(UserError, match=r'train_dataloader.batch_size.*2 images per batch') as error:
        train(tmp_path, 'batch', 2, train_cfg, batch_sampler=dict(type='TwoTwoOne'))
    assert '\n' not in str(error.value)
