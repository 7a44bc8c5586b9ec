"""A run of two epochs of four iterations that trains four weights: as small as MMEngine runs get."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn

from mmhyena.apis.resume import make_resumable, resume_from, run_training


@DATASETS.register_module()
class FourOnes(torch.utils.data.Dataset):
    """Four samples."""

    def __getitem__(self, index):
        return dict(x=torch.ones(4))

    def __len__(self):
        return 4


@MODELS.register_module()
class Line(BaseModel):
    """A model of four weights, whose loss can be made infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.factor = 1.0

    def forward(self, x, mode='loss'):
        return dict(loss=self.factor * (self.weight * x).sum())


def config(work_dir: Path, **changes) -> Config:
    """Two epochs of four iterations, one checkpoint per epoch."""
    options = dict(
        model=dict(type='Line'),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=1,
            dataset=dict(type='FourOnes'),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=2, by_epoch=True)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)),
        randomness=dict(seed=0),
        resume=False,
        load_from=None,
    )
    return Config(options | changes)


def run(cfg: Config, *hooks: Hook, resume: str | None = None, name: str = '') -> Runner:
    resume_from(cfg, resume)
    make_resumable(cfg)
    cfg.experiment_name = f'{Path(cfg.work_dir).name}{name}{time.monotonic_ns()}'
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    run_training(runner)
    return runner
