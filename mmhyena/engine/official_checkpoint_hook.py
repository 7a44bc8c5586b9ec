"""What a run loads, compared with its model before it is used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmhyena.checkpoints import find_family, fit_to_model, load_fitted, log_report, unwrap
from mmhyena.errors import name_checkpoint
from mmhyena.registry import HOOKS

__all__ = ['OfficialCheckpointHook']


@HOOKS.register_module()
class OfficialCheckpointHook(Hook):
    r"""Refuses a poor match of ``load_from`` or of a resumed checkpoint, and converts official checkpoints.

    Without it MMEngine reports hundreds of missing keys and trains from random weights. :func:`mmhyena.apis.train` adds
    it to every run.

    - ``load_from`` has to fill the backbone and may hold nothing else for it, output norms apart. Everything outside
      the backbone may be new or of another shape, such as a head for other classes, and is listed in the log. See
      :func:`~mmhyena.checkpoints.fit_to_model`.
    - A resumed checkpoint has to have every tensor of the model and no other.

    Args:
        weights: Which weights of a checkpoint with a moving average ``load_from`` takes: ``'auto'``, ``'model'`` or
            ``'ema'``.
        new: Regular expressions of names in the backbone that ``load_from`` may lack, such as ``r'\.adapter\.'``.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which copies what was loaded

    def __init__(self, weights: str = 'auto', new: Sequence[str] = ()) -> None:
        self.weights = weights
        self.new = tuple(new)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the checkpoint with the model; for ``load_from`` put what fits in its place.

        Raises:
            CheckpointError: If the match is poor.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        name = getattr(runner, '_load_from', None) or 'checkpoint'
        if getattr(runner, '_resume', False):
            with name_checkpoint(name):
                fitted, report = fit_to_model(unwrap(checkpoint)[0], model, exact=True)
            report.require_fit(f'checkpoint {name}', 'the model', 'resume with the config it was trained with')
            with name_checkpoint(name):
                load_fitted(model, fitted)
            return
        with name_checkpoint(name):
            state, wrapper = unwrap(checkpoint, self.weights)
            official = find_family(state) is not None
            fitted, report = fit_to_model(state, model, exact=False, new=self.new)
        source = f'{"official checkpoint" if official else "checkpoint"} {name} ({wrapper})'
        log_report(report, f'{source}:')
        kind = type(getattr(model, 'backbone', model)).__name__
        report.require_fit(source, f'the {kind} of this config')
        kept: OrderedDict[str, Any] = OrderedDict(fitted)
        kept._metadata = getattr(checkpoint.get('state_dict'), '_metadata', OrderedDict())  # type: ignore[attr-defined]
        with name_checkpoint(name):
            load_fitted(model, kept)  # MMEngine, which loads it next, drops what a module renames
        meta = checkpoint.get('meta', {})
        checkpoint.clear()
        checkpoint.update(state_dict=kept, meta=meta)
