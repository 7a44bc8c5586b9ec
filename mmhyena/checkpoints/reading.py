"""Checkpoints from files and URLs, read as weights only, and the state dict inside whatever wraps it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.fileio import get as read_bytes
from torch import Tensor

from mmhyena.checkpoints.unpickling import load_weights_only
from mmhyena.errors import UserError

__all__ = ['WEIGHTS', 'CheckpointError', 'read_checkpoint', 'unwrap']

WEIGHTS = ('auto', 'model', 'ema')
_EMA_KEYS = ('state_dict_ema', 'model_ema')
_MODEL_KEYS = ('state_dict', 'model')


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be used. The message is one line that names the culprit and the remedy."""


def read_checkpoint(source: str | Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``, onto the CPU.

    Besides tensors, what timm and MMEngine put beside them is allowed: ``argparse.Namespace`` and MMEngine's training
    history.

    Args:
        source: A file, an ``http(s)://`` URL (kept in torch's hub folder; one process of a job downloads it) or any
            address that MMEngine's file backends read.

    Raises:
        CheckpointError: If it is missing, cannot be read, or holds anything that is not a weight.
    """
    source = str(source)
    file = _open(source)
    try:
        checkpoint = load_weights_only(file)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f'{source} cannot be read as weights: {error}') from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{source} holds a {type(checkpoint).__name__}, not a dict of weights')
    return dict(checkpoint)


def _open(source: str) -> str | io.BytesIO:
    if source.startswith(('http://', 'https://')):
        return _download(source)
    if '://' in source:
        return io.BytesIO(read_bytes(source))
    if not Path(source).is_file():
        raise CheckpointError(f'checkpoint {source} does not exist')
    return source


def _download(url: str) -> str:
    """Return the file of ``url`` in torch's hub folder, downloading it if it is not there."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    file = folder / url.split('?')[0].rsplit('/', 1)[-1]
    rank, _ = get_dist_info()
    if rank == 0 and not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), progress=True)
        except OSError as error:
            raise CheckpointError(f'{url} cannot be downloaded: {error}') from error
    barrier()
    if not file.exists():
        raise CheckpointError(f'{url} was not found at {file}, where the first process should have put it')
    return str(file)


def unwrap(checkpoint: Mapping[str, Any], weights: str = 'auto') -> tuple[dict[str, Tensor], str]:
    """Return the state dict inside a checkpoint, without a ``module.`` prefix, and the name of its wrapper.

    Args:
        checkpoint: A state dict, or one in ``state_dict``, ``model``, ``state_dict_ema`` or ``model_ema``.
        weights: ``'ema'`` takes the moving average, ``'model'`` the weights beside it, ``'auto'`` the average where
            there is one, as timm does.

    Raises:
        CheckpointError: If there are no weights of that kind, or what is there is not a dict of tensors.
    """
    if weights not in WEIGHTS:
        raise ValueError(f'weights must be one of {", ".join(WEIGHTS)}, got {weights!r}')
    order = {'auto': _EMA_KEYS + _MODEL_KEYS, 'ema': _EMA_KEYS, 'model': _MODEL_KEYS}[weights]
    wrapper = next((key for key in order if isinstance(checkpoint.get(key), Mapping)), None)
    if wrapper is None and weights == 'ema':
        raise CheckpointError(f'the checkpoint has no {" or ".join(_EMA_KEYS)}; it holds {_first_keys(checkpoint)}')
    state = dict(checkpoint if wrapper is None else checkpoint[wrapper])
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        what = f'{_first_keys(others)} are no tensors' if others else 'it is empty'
        raise CheckpointError(
            f'the checkpoint has no state dict, on its own or in {", ".join(_MODEL_KEYS + _EMA_KEYS)}: {what}'
        )
    if all(key.startswith('module.') for key in state):
        state = {key.removeprefix('module.'): value for key, value in state.items()}
    return state, wrapper or 'the file itself'


def _first_keys(keys: Any, shown: int = 5) -> str:
    keys = [str(key) for key in keys]
    return ', '.join(keys[:shown]) + (', ...' if len(keys) > shown else '')
