"""Stops a run whose loss is not a number."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmhyena.engine.checkpoint_hook import CheckpointHook, TrainingDivergedError
from mmhyena.registry import HOOKS

__all__ = ['FiniteLossHook']


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """End a run whose loss stays NaN or infinite, with the iteration, the losses and the last good checkpoint.

    Args:
        max_steps: Consecutive steps with such a loss.
        max_skipped: Consecutive steps with such a loss that mixed precision skipped while it lowered its scale. They
            leave the weights as they are, and the first steps of a run in float16 usually have some.

    Raises:
        TrainingDivergedError: After ``max_steps`` or ``max_skipped``.
    """

    priority = 'HIGH'  # before the logger and the checkpoint

    def __init__(self, max_steps: int = 3, max_skipped: int = 100) -> None:
        if max_steps < 1 or max_skipped < 1:
            raise ValueError(f'max_steps and max_skipped must be positive, got {max_steps} and {max_skipped}')
        self.max_steps, self.max_skipped = max_steps, max_skipped
        self._steps = self._skipped = 0
        self._scale: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Note the loss scale, so that a step skipped in the first iteration is recognized as well."""
        self._scale = _loss_scale(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count the steps."""
        losses = {name: float(value.detach()) for name, value in (outputs or {}).items() if 'loss' in name}
        scale, before = _loss_scale(runner), self._scale
        self._scale = scale
        if all(math.isfinite(value) for value in losses.values()):
            self._steps = self._skipped = 0
            return
        if scale is not None and before is not None and scale < before:
            self._skipped += 1
        else:
            self._steps += 1
        if self._steps >= self.max_steps or self._skipped >= self.max_skipped:
            self._stop(runner, losses)

    def _stop(self, runner: Runner, losses: dict[str, float]) -> None:
        saver = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        values = ', '.join(f'{name} {value:.4g}' for name, value in losses.items())
        raise TrainingDivergedError(
            f'iteration {runner.iter + 1}: the loss was not finite in {max(self._steps, self._skipped)} steps in a row '
            f'({values}): lower the learning rate or check the data; '
            f'{saver.describe_last(runner) if saver else "the run writes no checkpoints"}'
        )


def _loss_scale(runner: Runner) -> float | None:
    """Return the loss scale of mixed precision, which falls whenever a step was skipped."""
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    return None if scaler is None else float(scaler.get_scale())
