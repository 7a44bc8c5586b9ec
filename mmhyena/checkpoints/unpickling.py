"""``torch.load`` of weights alone, with the harmless objects that timm and MMEngine put beside them."""

from __future__ import annotations

import argparse
import io
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

__all__ = ['load_weights_only']

ERRORS = (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, AttributeError)


def load_weights_only(file: str | Path | io.BytesIO) -> Any:
    """Read a file of ``torch.save`` onto the CPU: tensors, containers, ``Namespace`` and MMEngine's history only.

    Raises:
        pickle.UnpicklingError: If it is no such file or holds anything else; the message is one line.
    """
    try:
        if digit_version(torch.__version__) >= digit_version('2.6'):
            with torch.serialization.safe_globals([*_allowed(), (_history_method, 'builtins.getattr')]):
                return torch.load(file, map_location='cpu', weights_only=True)
        # There is no list of allowed classes yet; this unpickler is as strict as the one of weights_only.
        return torch.load(file, map_location='cpu', pickle_module=_RestrictedPickle, weights_only=False)
    except ERRORS as error:
        raise pickle.UnpicklingError(_reason(error)) from error


def _allowed() -> list[Any]:
    """Return timm's arguments and the classes inside MMEngine's ``message_hub`` and ``param_schedulers``."""
    arrays = [np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0], np.ndarray, np.dtype]
    dtypes = {type(np.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool')}
    return [argparse.Namespace, Counter, HistoryBuffer, *arrays, *dtypes]


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
    _containers = {('_codecs', 'encode'), ('collections', 'OrderedDict'), ('torch', 'Size'), ('torch', 'device')}

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or function, or raise :class:`pickle.UnpicklingError`."""
        if module in ('builtins', '__builtin__') and name == 'getattr':
            return _history_method
        rebuilds = module == 'torch._utils' and name.startswith('_rebuild_')
        storages = module in ('torch', 'torch.storage') and name.endswith('Storage')
        if rebuilds or storages or (module, name) in self._containers:
            return super().find_class(module, name)
        for allowed in _allowed():
            if (_old_name(module), name) == (_old_name(allowed.__module__), allowed.__name__):
                return allowed
        raise pickle.UnpicklingError(f'{module}.{name} is not a weight')


def _old_name(module: str) -> str:
    """Return a module's name before numpy 2."""
    return module.replace('numpy._core', 'numpy.core')


class _RestrictedPickle:
    """Stands for the ``pickle`` module in ``torch.load``."""

    __name__ = 'pickle'
    Unpickler = _RestrictedUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        """Unpickle ``file`` under the restrictions above."""
        return _RestrictedUnpickler(file, **kwargs).load()
