"""A checkpoint, and an exit code of its own, for a run that is asked to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import is_distributed
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from mmhyena.engine.checkpoint_hook import CheckpointHook
from mmhyena.engine.stop_signals import StopListener
from mmhyena.registry import HOOKS

__all__ = ['EXIT_CODE', 'Preempted', 'PreemptionHook']

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: try again later."""
EXIT_FILE = 'MMHYENA_EXIT_FILE'
"""Variable by which the launch scripts name a file for the exit code, which torchrun does not pass on."""


class Preempted(SystemExit):
    """Ends a run that was asked to stop and has written its checkpoint, with :data:`EXIT_CODE`."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM or SIGUSR1, write a checkpoint after the iteration that is running and exit with code 75.

    All processes of a job agree on the iteration, by one number that they exchange on the CPU per iteration. During a
    validation the state before it is saved, and the validation is repeated when the run is resumed. The checkpoint is
    ``interrupted.pth``; the next regular one supersedes it. Needs ``mmhyena.CheckpointHook`` in the run.

    Args:
        signals: Names of the signals.
        deadline: Seconds until the process ends in any case. Slurm and torchrun kill after 30.
    """

    priority = 'LOWEST'  # after what an iteration's other hooks do, regular checkpoints included

    def __init__(self, signals: Sequence[str] = ('SIGTERM', 'SIGUSR1'), deadline: float = 25.0) -> None:
        self.listener = StopListener(signals, deadline)
        self._group: Any = None

    def before_train(self, runner: Runner) -> None:
        """Start to listen."""
        if is_distributed() and self._group is None:
            timeout = (runner.cfg.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout')
            self._group = dist.new_group(
                backend='gloo', timeout=None if timeout is None else timedelta(seconds=timeout)
            )
        self.listener.start()

    def after_train(self, runner: Runner) -> None:
        """Give the signals back."""
        self.close()

    def close(self) -> None:
        """Give the signals back, also after a run that failed."""
        self.listener.close()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop if any process was asked to."""
        if self._is_requested_anywhere() and _is_between_updates(runner):
            self._stop(runner, runner.epoch, runner.iter + 1)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Give up the validation if this process was asked to stop."""
        if self.listener.signal is None or runner._train_loop is None:
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(runner)  # puts the trained weights back, which validation had exchanged
        runner.message_hub.update_info('last_validated_iter', -1)
        self._stop(runner, runner.epoch, runner.iter)

    def _is_requested_anywhere(self) -> bool:
        requested = self.listener.signal is not None
        if self._group is None:
            return requested
        flag = torch.tensor(int(requested))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._group)
        return bool(flag)

    def _stop(self, runner: Runner, epoch: int, iteration: int) -> None:
        name = signal.Signals(self.listener.signal).name if self.listener.signal else 'a signal to another process'
        saver = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        if saver is None:
            runner.logger.warning(f'{name}: the run stops without a checkpoint, since it has no mmhyena.CheckpointHook')
        else:
            saver.save_interrupted(runner, epoch, iteration)
            runner.logger.info(
                f'{name}: stopped after iteration {iteration}, checkpoint {saver.last_ckpt}; --resume goes on from it '
                f'(exit code {EXIT_CODE})'
            )
        self._wait_for_others(runner)
        self.close()
        if EXIT_FILE in os.environ:
            Path(os.environ[EXIT_FILE]).write_text(str(EXIT_CODE))
        raise Preempted

    def _wait_for_others(self, runner: Runner) -> None:
        """Let no process end, and the launcher kill the others, before the checkpoint is there."""
        if self._group is None:
            return
        try:
            dist.monitored_barrier(self._group, timeout=timedelta(seconds=self.listener.deadline / 2))
        except RuntimeError as error:
            runner.logger.warning(f'not all processes were asked to stop: {str(error).splitlines()[0]}')


def _is_between_updates(runner: Runner) -> bool:
    """Whether no gradients are being accumulated, which a checkpoint does not hold."""
    wrapper = runner.optim_wrapper
    counts = getattr(wrapper, '_accumulative_counts', 1)
    return counts == 1 or runner.iter + 1 >= runner.max_iters or (runner.iter + 1) % counts == 0
