"""The schedule of timm: every option against timm's own scheduler, resume, and its errors."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

from mmhyena.engine import TimmCosineLR

timm_scheduler = pytest.importorskip('timm.scheduler')


def optimizer() -> torch.optim.Optimizer:
    """Two groups with rates of their own, as layer-wise decay makes them."""
    groups = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': lr} for lr in (0.3, 0.05)]
    return torch.optim.SGD(groups, lr=0.1)


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group['lr'] for group in optimizer.param_groups]


@pytest.mark.parametrize('warmup_prefix', [False, True])
@pytest.mark.parametrize('warmup', [0, 1, 4])
@pytest.mark.parametrize('lag', [0, 1])
@pytest.mark.parametrize('updates', [None, 5])
def test_every_step_is_timms(warmup, warmup_prefix, lag, updates):
    ours, theirs = optimizer(), optimizer()
    factor = updates or 1
    cfg = dict(T_max=10, eta_min=0.01, warmup=warmup, warmup_lr=0.002, warmup_prefix=warmup_prefix, lag=lag)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='mmhyena.TimmCosineLR', convert_to_iter_based=updates is not None, **cfg),
        default_args=dict(optimizer=ours, epoch_length=updates),
    )
    assert scheduler.by_epoch == (updates is None)
    reference = timm_scheduler.CosineLRScheduler(
        theirs,
        t_initial=10 * factor,
        lr_min=0.01,
        warmup_t=warmup * factor,
        warmup_lr_init=0.002,
        warmup_prefix=warmup_prefix,
    )
    for step in range(18 * factor):
        assert rates(ours) == pytest.approx(rates(theirs), rel=1e-9), step
        ours.step()
        scheduler.step()
        reference.step(step + 1 - lag)


def test_a_resumed_schedule_continues():
    ours, resumed = optimizer(), optimizer()
    arguments = dict(T_max=6, eta_min=0.01, warmup=2, warmup_lr=0.002)
    scheduler = TimmCosineLR(ours, **arguments)
    for _ in range(4):
        ours.step()
        scheduler.step()
    other = TimmCosineLR(resumed, **arguments)
    resumed.load_state_dict(ours.state_dict())
    other.load_state_dict(scheduler.state_dict())
    for _ in range(4):
        for either, of in ((ours, scheduler), (resumed, other)):
            either.step()
            of.step()
        assert rates(resumed) == rates(ours)


@pytest.mark.parametrize('wrong', [dict(T_max=0), dict(T_max=5, warmup=-1), dict(T_max=5, lag=-1)])
def test_lengths_are_checked(wrong):
    with pytest.raises(ValueError, match='T_max > 0'):
        TimmCosineLR(optimizer(), **wrong)


def test_only_lengths_in_epochs_are_converted():
    with pytest.raises(ValueError, match='by_epoch=True'):
        TimmCosineLR.build_iter_from_epoch(optimizer(), T_max=5, by_epoch=False, epoch_length=3)
