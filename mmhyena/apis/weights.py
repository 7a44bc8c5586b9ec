"""Weights into a whole model: everything fits, or nothing is done with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmhyena.checkpoints import CheckpointError, find_family, fit_official, unwrap
from mmhyena.errors import UserError

__all__ = ['load_weights']

_SHOWN = 4


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], name: str | Path) -> None:
    """Load a checkpoint into ``model`` and check that every tensor of both found its partner.

    An official classifier is converted, with a report in the log. What the model itself adapts while loading (filters
    of other kernel sizes) fits.

    Args:
        model: What to fill.
        checkpoint: What :func:`mmhyena.checkpoints.read_checkpoint` gave.
        name: What to call the checkpoint in errors.

    Raises:
        UserError: Counting what is missing, unexpected and of another shape, with the first few names of each.
    """
    try:
        state, wrapper = unwrap(checkpoint)
    except CheckpointError as error:
        raise UserError(f'{name}: {error}') from error
    official = find_family(state)
    if official:
        state = fit_official(state, model, f'official checkpoint {name} ({wrapper})')
    try:
        result = model.load_state_dict(state, strict=False)
        missing, unexpected, mismatched = result.missing_keys, result.unexpected_keys, []
    except RuntimeError as error:
        mismatched = [line.split()[3].rstrip(':') for line in str(error).splitlines() if 'size mismatch for' in line]
        if not mismatched:
            raise
        own = model.state_dict()
        missing, unexpected = [key for key in own if key not in state], [key for key in state if key not in own]
    problems = {'missing': missing, 'unexpected': unexpected, 'of another shape': mismatched}
    found = [f'{len(keys)} {what} ({_first(keys)})' for what, keys in problems.items() if keys]
    if found:
        total = len(model.state_dict())
        remedy = (
            'it is an official classifier: take the config of its architecture and classes, or start a training from '
            'it with model.backbone.init_cfg'
            if official
            else 'use the config it was trained with'
        )
        raise UserError(
            f'checkpoint {name} does not fit the model: {total - len(missing) - len(mismatched)} of {total} tensors '
            f'match, {", ".join(found)}; {remedy}'
        )


def _first(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ', '.join(keys[:_SHOWN]) + (', ...' if len(keys) > _SHOWN else '')
