"""A last batch of one sample, over which batch normalization cannot go, is dropped and said."""

from __future__ import annotations

import time

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn

from mmhyena.apis.resume import make_resumable, run_training


@DATASETS.register_module()
class FiveVectors(torch.utils.data.Dataset):
    """Five samples."""

    def __getitem__(self, index):
        return dict(x=torch.arange(4.0) * index)

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


@pytest.mark.parametrize(
    ('norm', 'batch_size', 'expected'),
    [('batch', 2, [2, 2]), ('batch', 4, [4]), ('batch', 3, [3, 2]), ('layer', 2, [2, 2, 1])],
)
def test_sizes_of_the_batches(norm, batch_size, expected, tmp_path, capfd):
    cfg = Config(
        dict(
            model=dict(type='NormalizedLine', norm=norm),
            work_dir=str(tmp_path),
            train_dataloader=dict(
                batch_size=batch_size,
                dataset=dict(type='FiveVectors'),
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            experiment_name=f'single{time.monotonic_ns()}',
        )
    )
    make_resumable(cfg)
    runner = Runner.from_cfg(cfg)
    run_training(runner)
    assert runner.model.sizes == expected * 2
    assert runner.iter == runner.max_iters == 2 * len(expected)
    assert ('that batch is dropped' in ''.join(capfd.readouterr())) == (sum(expected) == 4)
