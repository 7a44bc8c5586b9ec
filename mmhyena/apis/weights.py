"""Reading checkpoints without running what is in them, and refusing those that do not fit the model."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version
from torch import nn

from .errors import UserError

__all__ = ['check_weights', 'read_checkpoint']

_SHOWN = 4


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``; MMEngine's training history is the one class allowed besides.

    Raises:
        UserError: If the file is missing, is no checkpoint, or holds objects other than weights.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'checkpoint {path} does not exist')
    try:
        if digit_version(torch.__version__) >= digit_version('2.6'):
            allowed = [*_history_globals(), (_history_method, 'builtins.getattr')]
            with torch.serialization.safe_globals(allowed):
                checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        else:
            checkpoint = torch.load(path, map_location='cpu', pickle_module=_RestrictedPickle, weights_only=False)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        raise UserError(f'checkpoint {path} cannot be read as weights: {_reason(error)}') from error
    if not isinstance(checkpoint, dict):
        raise UserError(f'checkpoint {path} holds a {type(checkpoint).__name__}, not a dict of weights')
    return checkpoint


def check_weights(model: nn.Module, checkpoint: dict[str, Any], name: str | Path) -> None:
    """Check that a checkpoint has exactly the tensors of ``model``, shapes included.

    Raises:
        UserError: Counting what is missing, unexpected and of another shape, with the first few keys of each.
    """
    state = checkpoint.get('state_dict', checkpoint)
    own = model.state_dict()
    wrong_shape = [
        f'{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}'
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = {
        'missing': [key for key in own if key not in state],
        'unexpected': [key for key in state if key not in own],
        'of another shape': wrong_shape,
    }
    found = [f'{len(keys)} {what} ({_first(keys)})' for what, keys in problems.items() if keys]
    if found:
        matched = len(own) - len(problems['missing']) - len(wrong_shape)
        raise UserError(
            f'checkpoint {name} does not fit the model: {matched} of {len(own)} tensors match, {", ".join(found)}; '
            'use the config it was trained with'
        )


def _first(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ', '.join(keys[:_SHOWN]) + (', ...' if len(keys) > _SHOWN else '')


def _history_globals() -> list[Any]:
    """Return the classes inside MMEngine's ``message_hub``, which training checkpoints carry."""
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool')}
    return [HistoryBuffer, reconstruct, scalar, np.ndarray, np.dtype, *dtypes]


def _history_method(owner: Any, name: str) -> Any:
    """Stand for ``getattr``, by which a pickled history names its own methods, and for nothing else."""
    if owner is not HistoryBuffer:
        raise pickle.UnpicklingError(f'attribute {name} of {owner!r} is not a weight')
    return getattr(owner, name)


def _reason(error: Exception) -> str:
    """Return the telling line of torch's long message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if 'Unpickler error' in line), lines[0]).split('. Please use')[0]


class _RestrictedUnpickler(pickle.Unpickler):
    """What ``safe_globals`` does, for torch before 2.6: tensors, containers and MMEngine's history, nothing else."""

    _tensor_parts = {('_codecs', 'encode'), ('collections', 'OrderedDict'), ('torch', 'Size'), ('torch', 'device')}

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or function.

        Raises:
            pickle.UnpicklingError: For any other.
        """
        if module in ('builtins', '__builtin__') and name == 'getattr':
            return _history_method
        rebuilds = module == 'torch._utils' and name.startswith('_rebuild_')
        storages = module in ('torch', 'torch.storage') and name.endswith('Storage')
        if rebuilds or storages or (module, name) in self._tensor_parts:
            return super().find_class(module, name)
        for allowed in _history_globals():
            if (module.replace('numpy._core', 'numpy.core'), name) == (
                allowed.__module__.replace('numpy._core', 'numpy.core'),
                allowed.__name__,
            ):
                return allowed
        raise pickle.UnpicklingError(f'{module}.{name} is not a weight')


class _RestrictedPickle:
    """Stands for the ``pickle`` module in ``torch.load``."""

    __name__ = 'pickle'
    Unpickler = _RestrictedUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        """Unpickle ``file`` under the restrictions above."""
        return _RestrictedUnpickler(file, **kwargs).load()
