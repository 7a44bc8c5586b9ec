"""Learning rates of a resumed run whose config has another schedule than the checkpoint."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.optim import _ParamScheduler

__all__ = ['follow_schedule']

# What a scheduler counts, as opposed to what it was configured with.
_COUNTERS = {'last_step', '_global_step', '_last_value', 'base_values', 'verbose'}
_NEVER = 10**9  # MMEngine's "no end"


def follow_schedule(runner: Any, iteration: int, epoch: int, epoch_length: int) -> None:
    """Put the schedulers of ``runner.cfg`` at a position if those of the checkpoint were configured otherwise.

    MMEngine loads a scheduler with all its settings, so a run that is resumed with more epochs would keep the final
    learning rate of the old schedule. Here the new schedule is played from its start to the position, in MMEngine's
    order. A schedule that depends on metrics cannot be: the loaded one is kept, with a warning.

    Args:
        runner: A runner that has just loaded a checkpoint.
        iteration: Iterations trained.
        epoch: Epochs trained.
        epoch_length: Iterations per epoch.
    """
    cfg, loaded = runner.cfg.get('param_scheduler'), _flat(runner.param_schedulers)
    if not cfg or not loaded:
        return
    groups = _groups(loaded)
    saved = [{key: value for key, value in group.items() if key != 'params'} for group in groups]
    fresh_schedulers = _build(runner, copy.deepcopy(cfg))
    fresh = _flat(fresh_schedulers)
    changed = [_settings(scheduler) for scheduler in fresh] != [_settings(scheduler) for scheduler in loaded]
    needs_metrics = any(getattr(scheduler, 'need_val_args', False) for scheduler in fresh + loaded)
    if not changed or needs_metrics:
        for group, values in zip(groups, saved):
            group.update(values)
        if changed:
            runner.logger.warning(
                'param_scheduler differs from the checkpoint; it uses metrics, so the old one is kept'
            )
    else:
        before = groups[0]['lr']
        _play(fresh, groups, iteration, epoch, epoch_length)
        runner.param_schedulers = fresh_schedulers
        runner.logger.info(
            f'param_scheduler differs from the checkpoint: the learning rate follows the new schedule, '
            f'{before:.4g} -> {groups[0]["lr"]:.4g}'
        )
    _say_where_it_ends(runner, fresh)


def _build(runner: Any, cfg: Any) -> Any:
    if hasattr(runner, 'strategy'):
        return runner.strategy.build_param_scheduler(cfg, runner.optim_wrapper)
    return runner.build_param_scheduler(cfg)


def _flat(schedulers: Any) -> list[_ParamScheduler]:
    if isinstance(schedulers, dict):
        return [scheduler for part in schedulers.values() for scheduler in part]
    return list(schedulers or [])


def _groups(schedulers: list[_ParamScheduler]) -> list[dict[str, Any]]:
    optimizers = {id(scheduler.optimizer): scheduler.optimizer for scheduler in schedulers}
    return [group for optimizer in optimizers.values() for group in optimizer.param_groups]


def _settings(scheduler: _ParamScheduler) -> dict[str, Any]:
    state = {key: value for key, value in scheduler.state_dict().items() if key not in _COUNTERS}
    return dict(state, type=type(scheduler).__name__)


def _play(
    schedulers: list[_ParamScheduler],
    groups: list[dict[str, Any]],
    iteration: int,
    epoch: int,
    epoch_length: int,
) -> None:
    """Step ``schedulers`` as MMEngine's hook would have done up to the position."""
    for scheduler in schedulers:
        for group in groups:
            initial = group.get(f'initial_{scheduler.param_name}')
            if initial is not None:
                group[scheduler.param_name] = initial
    for scheduler in schedulers:
        # A scheduler takes its first step when it is built.
        scheduler.last_step = scheduler._global_step = -1
        scheduler.step()
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    by_iteration = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    for done in range(1, iteration + 1):
        for scheduler in by_iteration:
            scheduler.step()
        if done % epoch_length == 0 and done // epoch_length <= epoch:
            for scheduler in by_epoch:
                scheduler.step()


def _say_where_it_ends(runner: Any, schedulers: list[_ParamScheduler]) -> None:
    """Say so if the schedule of the config ends before the training does."""
    rates = [scheduler for scheduler in schedulers if scheduler.param_name == 'lr']
    if not rates:
        return
    last = max(rates, key=lambda scheduler: scheduler.end * (1 if not scheduler.by_epoch else _NEVER))
    end, unit = (runner.max_epochs, 'epoch') if last.by_epoch else (runner.max_iters, 'iteration')
    if last.end < end and last.end < _NEVER:
        runner.logger.warning(
            f'param_scheduler ends at {unit} {last.end} of {end}: the learning rate stays as it is from there on'
        )
