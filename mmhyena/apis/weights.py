"""Weights into a whole model: everything fits, or it is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmhyena.checkpoints import find_family, fit_to_model, load_fitted, log_report, unwrap
from mmhyena.errors import name_checkpoint

__all__ = ['load_weights']


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], name: str | Path, weights: str = 'auto') -> None:
    """Load a checkpoint into ``model`` and check that every tensor of both has a counterpart.

    An official checkpoint is converted, with a report in the log. What the model itself adapts while loading (filters
    of other kernel sizes) fits; counters of batch norms, which old checkpoints lack, may be missing.

    Args:
        model: What to fill.
        checkpoint: What :func:`mmhyena.checkpoints.read_checkpoint` gave.
        name: What to call the checkpoint in errors.
        weights: Which weights of a checkpoint with a moving average, see :func:`mmhyena.checkpoints.unwrap`.

    Raises:
        CheckpointError: Counting what is missing, unexpected and of another shape, with the first few names of each.
    """
    with name_checkpoint(name):
        state, wrapper = unwrap(checkpoint, weights)
        official = find_family(state) is not None
        fitted, report = fit_to_model(state, model, exact=True)
    remedy = 'use the config it was trained with'
    if official:
        log_report(report, f'official checkpoint {name} ({wrapper}):')
        remedy = (
            'it is an official classifier: take the config of its architecture and classes, or start a training from '
            'it with model.backbone.init_cfg'
        )
    report.require_fit(f'checkpoint {name}', 'the model', remedy)
    with name_checkpoint(name):
        load_fitted(model, fitted)
