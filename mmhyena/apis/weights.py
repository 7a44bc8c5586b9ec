"""Refusing checkpoints that do not fit the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmhyena import checkpoints

from .errors import UserError

__all__ = ['check_weights', 'read_checkpoint']

_SHOWN = 4


def read_checkpoint(source: str | Path) -> dict[str, Any]:
    """Read a checkpoint as weights only, see :func:`mmhyena.checkpoints.read_checkpoint`.

    Raises:
        UserError: If it is missing, or holds anything that is not a weight.
    """
    try:
        return checkpoints.read_checkpoint(source)
    except checkpoints.CheckpointError as error:
        raise UserError(str(error)) from error


def check_weights(model: nn.Module, checkpoint: Mapping[str, Any], name: str | Path) -> None:
    """Load a checkpoint into ``model`` and check that every tensor of both found its partner.

    What the model itself adapts while loading (official names, filters of other kernel sizes) fits.

    Raises:
        UserError: Counting what is missing, unexpected and of another shape, with the first few names of each.
    """
    try:
        state, _ = checkpoints.unwrap(checkpoint)
        result = model.load_state_dict(state, strict=False)
        missing, unexpected, mismatched = result.missing_keys, result.unexpected_keys, []
    except checkpoints.CheckpointError as error:
        raise UserError(f'{name}: {error}') from error
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
        raise UserError(
            f'checkpoint {name} does not fit the model: {total - len(missing) - len(mismatched)} of {total} tensors '
            f'match, {", ".join(found)}; use the config it was trained with'
        )


def _first(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ', '.join(keys[:_SHOWN]) + (', ...' if len(keys) > _SHOWN else '')
