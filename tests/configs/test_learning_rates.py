"""The learning rate of every classification recipe on ImageNet and CelebA against timm's scheduler, at every epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

import mmhyena.registry  # noqa: F401  (MMEngine finds the scope by it)

timm_scheduler = pytest.importorskip('timm.scheduler')

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    str(path.relative_to(ROOT)) for glob in ('*_in1k*.py', '*_celeba.py') for path in (ROOT / 'configs').rglob(glob)
)
# What the official training passes to timm, by family: epochs of the cosine, warm-up, cool-down, and whether the
# scheduler is stepped with the index of the epoch just finished.
FINE_TUNING = dict(sched='none', num_epochs=30, warmup_epochs=0, warmup_lr=1e-5)
HYENA_PIXEL = dict(num_epochs=300, warmup_epochs=20, cooldown_epochs=10)
DEIT = dict(num_epochs=300, warmup_epochs=5)
CELEBA = dict(num_epochs=20, warmup_epochs=1)
SWIN = dict(num_epochs=280, warmup_epochs=20, warmup_prefix=True)
UPDATES = 3  # per epoch, in this test


def family(config: str) -> tuple[dict, bool]:
    """Return timm's arguments and whether the code steps with the index of the finished epoch."""
    name = Path(config).stem
    if name.endswith('384px'):
        return FINE_TUNING, False
    if 'celeba' in name:
        return CELEBA, True
    if 'hyena-swin' in name:  # a peer's Swin follows HyenaPixel's recipe
        return SWIN, False
    if name.startswith(('hyena-vit', 'ibit')):
        return DEIT, True
    return HYENA_PIXEL, False


def timm_rates(lr: float, epochs: int, arguments: dict, finished: bool) -> list[float]:
    """Return the rate at the start of every epoch."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    arguments = dict(sched='cosine', min_lr=1e-5, warmup_lr=1e-6, cooldown_epochs=0) | arguments
    scheduler, _ = timm_scheduler.create_scheduler_v2(optimizer, **arguments)
    rates = []
    for epoch in range(epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        if scheduler is not None:
            scheduler.step(epoch if finished else epoch + 1)
    return rates


def our_rates(cfg: Config) -> list[list[float]]:
    """Return the rate of every iteration of every epoch, stepped as MMEngine's hook does."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer, epoch_length=UPDATES))
        for scheduler in cfg.param_scheduler
    ]
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append([])
        for _ in range(UPDATES):
            rates[-1].append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return rates


@pytest.mark.parametrize('name', CONFIGS, ids=lambda path: Path(path).stem)
def test_rate_is_that_of_timm_at_every_epoch(name, add_row):
    cfg = Config.fromfile(ROOT / name)
    arguments, finished = family(name)
    expected = timm_rates(cfg.optim_wrapper.optimizer.lr, cfg.train_cfg.max_epochs, arguments, finished)
    ours = our_rates(cfg)
    if 'swin' not in name:  # Swin steps every iteration
        assert all(len(set(rates)) == 1 for rates in ours)
    errors = [abs(rates[0] - rate) / rate for rates, rate in zip(ours, expected)]
    add_row('Learning rates', config=Path(name).stem, epochs=len(errors), relative_error=max(errors))
    assert max(errors) < 1e-6


def test_the_published_figures_of_the_schedule():
    """3.956e-3 after the warm-up of 20 epochs, and so on: computed by the official code."""
    cfg = Config.fromfile(ROOT / 'configs/hyenapixel/classification/hpx-former-s18_8xb512_in1k.py')
    rates = [rates[0] for rates in our_rates(cfg)]
    assert len(rates) == 310
    assert [rates[0], rates[10]] == pytest.approx([1e-6, 1e-6 + (4e-3 - 1e-6) / 2])
    assert [rates[20], rates[150], rates[200]] == pytest.approx([3.956e-3, 2.005e-3, 1.0075e-3], rel=2e-4)
    assert set(rates[300:]) == {1e-5}
