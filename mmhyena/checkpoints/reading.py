"""Checkpoints read as weights alone: nothing that a file says is ever executed."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version
from torch import Tensor

from mmhyena.checkpoints.formats import identify
from mmhyena.checkpoints.sources import fetch
from mmhyena.errors import CheckpointError

__all__ = ['read_checkpoint', 'read_tensors']

# Dicts that MMEngine puts beside the weights and relies on.
_BESIDE = ('meta', 'message_hub', 'optimizer', 'ema_state_dict')


def read_checkpoint(source: str | Path) -> dict[str, Any]:
    """Read a checkpoint of ``torch.save`` or safetensors onto the CPU, as weights alone.

    Besides tensors and plain containers, what timm and MMEngine put beside them is allowed: ``argparse.Namespace``,
    NumPy's numbers and arrays, and MMEngine's training history. Anything else is refused without being called.

    Args:
        source: A file or an address, see :func:`~mmhyena.checkpoints.sources.fetch`.

    Returns:
        What was saved. Safetensors give a state dict, or ``state_dict`` and ``meta`` where this package wrote them.

    Raises:
        CheckpointError: If it is missing, of another format, damaged, or holds anything that is not a weight.
    """
    source = str(source)
    checkpoint = read_tensors(source)
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{source} holds a {type(checkpoint).__name__}, not a dict of weights')
    for key in _BESIDE:
        value = checkpoint.get(key)
        if value is not None and not isinstance(value, (Mapping, Tensor)):  # a state dict may have such a name
            raise CheckpointError(f'{source} is damaged: its {key!r} is a {type(value).__name__}, not a dict')
    return dict(checkpoint)


def read_tensors(source: str | Path | BinaryIO, map_location: Any = 'cpu') -> Any:
    """Read what ``torch.save`` or safetensors wrote, of any form, as :func:`read_checkpoint` does.

    Args:
        source: A file, an address, or an open file.
        map_location: Where tensors go, as for ``torch.load``; those of safetensors go to the CPU.

    Returns:
        What was saved: a tensor, or a container of tensors.

    Raises:
        CheckpointError: If it is missing, of another format, damaged, or holds anything that is not a weight.
    """
    if not isinstance(source, (str, Path)):
        return _read(source, str(getattr(source, 'name', 'an open file')), map_location)
    source = str(source)
    file = fetch(source)
    if isinstance(file, io.BytesIO):
        return _read(file, source, map_location)
    try:
        with file.open('rb') as stream:
            return _read(stream, source, map_location)
    except OSError as error:
        raise CheckpointError(f'{source} cannot be read: {error.strerror or error}') from error


def _read(stream: BinaryIO, source: str, map_location: Any) -> Any:
    if identify(stream, source) == 'safetensors':
        return _read_safetensors(stream, source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about protocols of pickle; the error says what matters
            return _load_weights_only(stream, map_location)
    # The content is not trusted: whatever it makes torch raise says that it is no checkpoint.
    except Exception as error:
        raise CheckpointError(f'{source} {_reason(error)}') from error


def _read_safetensors(stream: BinaryIO, source: str) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError as error:
        raise CheckpointError(f"{source} needs safetensors: pip install 'mmhyena[hub]'") from error
    content = stream.read()
    try:
        state = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
        meta = json.loads(header.get('__metadata__', {}).get('mmhyena', 'null'))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f'{source} cannot be read: it is truncated or damaged; copy or download it again'
        ) from error
    return state if meta is None else dict(meta=meta, state_dict=state)


def _load_weights_only(stream: BinaryIO, map_location: Any) -> Any:
    if _has_safe_globals():
        with torch.serialization.safe_globals([*_allowed(), (_history_method, 'builtins.getattr')]):
            return torch.load(stream, map_location=map_location, weights_only=True)
    # There is no list of allowed classes yet; this unpickler is as strict as the one of weights_only.
    return torch.load(stream, map_location=map_location, pickle_module=_RestrictedPickle, weights_only=False)


def _has_safe_globals() -> bool:
    return digit_version(torch.__version__) >= digit_version('2.6')


def _allowed() -> list[Any]:
    """Return timm's arguments and the classes inside MMEngine's ``message_hub``, ``param_schedulers`` and ``meta``."""
    arrays = [np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0], np.ndarray, np.dtype]
    dtypes = {type(np.dtype(code)) for code in '?bBhHiIlLqQefd'}
    return [argparse.Namespace, Counter, HistoryBuffer, *arrays, *dtypes]


def _history_method(owner: Any, name: str) -> Any:
    """Stand for ``getattr``, by which a pickled history names its statistics, and for nothing else.

    Any further attribute would be a way out: ``HistoryBuffer.__getattribute__`` reaches every object there is.
    """
    if owner is not HistoryBuffer or name not in ('current', 'max', 'mean', 'min'):
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr of {name}')
    return getattr(owner, name)


def _reason(error: Exception) -> str:
    """Say what is wrong with a file; torch's own text advises to switch the protection off."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        named = re.search(r'GLOBAL (?:getattr of )?([\w.]+)', text)
        what = f'it refers to {named[1]}' if named else 'it builds objects of its own'
        return (
            f'cannot be read as weights: {what}, which could run code; ask its author for safetensors or for the state '
            'dict alone'
        )
    if 'magic number' in text:
        return 'cannot be read as weights: it is a pickle, but not of torch.save'
    return 'cannot be read: it is truncated or damaged; copy or download it again'


class _RestrictedUnpickler(pickle.Unpickler):
    """What ``weights_only`` is in later versions of torch."""

    # Not _rebuild_from_type_v2: it sets attributes of any object.

    _functions = {
        ('_codecs', 'encode'),
        ('collections', 'OrderedDict'),
        ('torch', 'Size'),
        ('torch', 'device'),
        *(
            ('torch._utils', f'_rebuild_{what}')
            for what in ('parameter', 'qtensor', 'sparse_tensor', 'tensor', 'tensor_v2', 'tensor_v3')
        ),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or function, or raise :class:`pickle.UnpicklingError`."""
        if module in ('builtins', '__builtin__') and name == 'getattr':
            return _history_method
        is_storage = module in ('torch', 'torch.storage') and name.endswith('Storage') and '.' not in name
        is_dtype = module == 'torch' and isinstance(getattr(torch, name, None), (torch.dtype, torch.layout))
        if is_storage or is_dtype or (module, name) in self._functions:
            return super().find_class(module, name)
        for allowed in _allowed():
            if (_old_name(module), name) == (_old_name(allowed.__module__), allowed.__name__):
                return allowed
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {module}.{name}')


def _old_name(module: str) -> str:
    """Return a module's name before numpy 2."""
    return module.replace('numpy._core', 'numpy.core')


class _RestrictedPickle:
    """Takes the place of the ``pickle`` module in ``torch.load``."""

    __name__ = 'pickle'
    Unpickler = _RestrictedUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        """Unpickle ``file`` under the restrictions above."""
        return _RestrictedUnpickler(file, **kwargs).load()
