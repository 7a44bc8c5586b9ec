"""Official checkpoints in ``load_from``."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmhyena.checkpoints import CheckpointError, find_family, fit_official, unwrap
from mmhyena.registry import HOOKS

__all__ = ['OfficialCheckpointHook']


@HOOKS.register_module()
class OfficialCheckpointHook(Hook):
    """Converts an official checkpoint that a run loads (``load_from``), with a report, and refuses a poor match.

    Without it MMEngine would report hundreds of missing keys and go on with random weights. Other checkpoints are left
    as they are. A classifier gets its head as well; detectors and segmentors get the backbone.

    Args:
        weights: Which weights of a checkpoint with a moving average: ``'auto'``, ``'model'`` or ``'ema'``.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which copies what was loaded

    def __init__(self, weights: str = 'auto') -> None:
        self.weights = weights

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace an official checkpoint by a converted one, in place."""
        try:
            state, wrapper = unwrap(checkpoint, self.weights)
        except CheckpointError:
            return  # no plain state dict, hence not an official one: MMEngine's business
        if find_family(state) is None:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        fitted = fit_official(state, model, f'official checkpoint ({wrapper})')
        checkpoint.clear()
        checkpoint.update(state_dict=fitted, meta={})
