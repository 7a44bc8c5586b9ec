"""Stops a run whose loss is not a number."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from mmhyena.engine.checkpoint_hook import CheckpointHook, TrainingDivergedError
from mmhyena.registry import HOOKS

__all__ = ['FiniteLossHook']


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """End a run whose loss stays NaN or infinite, with the iteration, the losses and the last good checkpoint.

    Args:
        max_steps: Consecutive steps with such a loss.
        max_skipped: Consecutive steps with such a loss that mixed precision skipped, with a dynamic or a static scale.
            They leave the weights as they are, and the first steps of a run in float16 usually have some.

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
        self._stepped = False
        self._handle: RemovableHandle | None = None

    def before_train(self, runner: Runner) -> None:
        """Note the loss scale and the optimizer's steps, so that the first iteration is judged as the others are."""
        self._scale = _loss_scale(runner)
        if self._scale is not None:
            self._handle = runner.optim_wrapper.optimizer.register_step_post_hook(self._note_step)

    def after_train(self, runner: Runner) -> None:
        """Leave the optimizer alone."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _note_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._stepped = True

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count the steps."""
        losses = {name: float(value.detach()) for name, value in (outputs or {}).items() if 'loss' in name}
        skipped = self._was_skipped(runner)
        if all(math.isfinite(value) for value in losses.values()):
            self._steps = self._skipped = 0
            return
        if skipped:
            self._skipped += 1
        else:
            self._steps += 1
        if self._steps >= self.max_steps or self._skipped >= self.max_skipped:
            self._stop(runner, losses)

    def _was_skipped(self, runner: Runner) -> bool:
        """Whether mixed precision skipped this step: it called no optimizer, or one that skips by itself."""
        scale, before, stepped = _loss_scale(runner), self._scale, self._stepped
        self._scale, self._stepped = scale, False
        if scale is None or before is None:
            return False
        # Fused optimizers are called all the same. A loss that is not finite makes gradients that are not.
        fused = getattr(runner.optim_wrapper.optimizer, '_step_supports_amp_scaling', False)
        return scale < before or not stepped or fused

    def _stop(self, runner: Runner, losses: dict[str, float]) -> None:
        saver = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        values = ', '.join(f'{name} {value:.4g}' for name, value in losses.items())
        raise TrainingDivergedError(
            f'iteration {runner.iter + 1}: the loss was not finite in {max(self._steps, self._skipped)} steps in a row '
            f'({values}): lower the learning rate or check the data; '
            f'{saver.describe_last(runner) if saver else "the run writes no checkpoints"}'
        )


def _loss_scale(runner: Runner) -> float | None:
    """Return the loss scale of mixed precision; a dynamic one falls whenever a step was skipped."""
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    return None if scaler is None else float(scaler.get_scale())
