"""Data files of MMEngine and its toolkits, read without executing what they say.

Pickle and YAML can name any function to be called as they are read. MMEngine's ``load`` (proposals, annotations, class
weights, dumped predictions), the pickled arrays of mmseg, CIFAR's batches and ``numpy.load`` with ``allow_pickle`` all
allow that. :func:`use_safe_data_files` lets them read arrays, tensors and plain containers, and nothing else.

What MMEngine exchanges between its own processes is no file from elsewhere and stays as it is.
"""

from __future__ import annotations

import collections
import functools
import io
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import IO, Any, BinaryIO

import mmengine.structures as structures
import numpy as np
import torch
import yaml
from mmengine.fileio import register_handler
from mmengine.fileio.handlers import PickleHandler, YamlHandler

from mmhyena.checkpoints.reading import read_tensors
from mmhyena.errors import UserError

__all__ = ['read_pickle', 'use_safe_data_files']

_TOOLKITS = ('mmcv', 'mmdet', 'mmpretrain', 'mmseg')
# These unpickle what another process of the same run has sent or written.
_BETWEEN_PROCESSES = ('mmdet.evaluation.metrics.base_video_metric', 'mmdet.utils.dist_utils')
_FILE_NAMES = ('file', 'file_path', 'filepath', 'filename', 'path')  # variables of the functions that read
_REMEDY = 'save it again as a pickle of arrays, tensors and plain containers, or as json'


def use_safe_data_files() -> None:
    """Take the place of MMEngine's readers of pickle and YAML, of ``numpy.load`` for the toolkits, and of their pickle.

    The last holds for the modules that are imported by then.
    """
    register_handler(['pickle', 'pkl'])(_SafePickleHandler)
    register_handler(['yaml', 'yml'])(_SafeYamlHandler)
    if not hasattr(np.load, 'serves_toolkits'):
        np.load = _for_toolkits(np.load)
    for name, module in list(sys.modules.items()):
        is_reader = name.partition('.')[0] in _TOOLKITS and name not in _BETWEEN_PROCESSES
        if is_reader and vars(module).get('pickle') is pickle:
            vars(module)['pickle'] = _safe_pickle()


def read_pickle(stream: BinaryIO, source: str, **kwargs: Any) -> Any:
    """Unpickle numbers, text, plain containers, NumPy's arrays, tensors and MMEngine's structures of them.

    Args:
        stream: The open file.
        source: What to call it in errors.
        **kwargs: ``encoding`` and the other arguments of :class:`pickle.Unpickler`.

    Raises:
        UserError: If the file is damaged or refers to anything else, which is not called.
    """
    try:
        return _DataUnpickler(stream, **kwargs).load()
    except _RefusedError as error:
        raise UserError(f'{source} is not read: it refers to {error}, which could run code; {_REMEDY}') from error
    except Exception as error:  # whatever a file makes pickle raise says that it is none
        raise UserError(f'{source} cannot be read: it is truncated, damaged or no pickle') from error


class _RefusedError(pickle.UnpicklingError):
    """Says what a pickle refers to."""


class _DataUnpickler(pickle.Unpickler):
    """Makes objects of the few kinds that data consist of.

    A pickle may set attributes of whatever it refers to. So it gets functions and classes of Python's own making as
    copies, which nobody else holds.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may call, or raise."""
        module = module.replace('__builtin__', 'builtins').replace('numpy._core', 'numpy.core')
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if (module, name) in _FUNCTIONS:
            return _copy_of(_FUNCTIONS[module, name])
        if module.startswith('mmengine.structures') and name in _STRUCTURES:
            return _maker_of(getattr(structures, name))
        if module == 'torch' and isinstance(getattr(torch, name, None), (torch.dtype, torch.layout)):
            return getattr(torch, name)
        raise _RefusedError(f'{module}.{name}')


def _nested(content: bytes) -> Any:
    """Return the storage of a tensor, which a plain pickle holds as a file of ``torch.save``."""
    return read_tensors(io.BytesIO(content))


_BUILTINS = (bytearray, bytes, complex, dict, float, frozenset, int, list, set, slice, str)
_ARRAY = np.empty(0).__reduce__()[0]
# Types and functions in C, whose attributes cannot be set.
_PLAIN: dict[tuple[str, str], Any] = {
    **{('builtins', kind.__name__): kind for kind in _BUILTINS},
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('collections', 'defaultdict'): collections.defaultdict,
    ('collections', 'deque'): collections.deque,
    ('numpy', 'dtype'): np.dtype,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy.core.multiarray', '_reconstruct'): _ARRAY,
    ('numpy.core.multiarray', 'scalar'): np.float64(0).__reduce__()[0],
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
}
_FUNCTIONS: dict[tuple[str, str], Any] = {
    # Python 2 and protocols below 3 write bytes by it, in latin1.
    ('_codecs', 'encode'): lambda text, encoding: text.encode('latin1'),
    ('numpy.core.numeric', '_frombuffer'): np.empty(0).__reduce_ex__(5)[0],
    ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch.storage', '_load_from_bytes'): _nested,
}
_STRUCTURES = ('BaseDataElement', 'InstanceData', 'LabelData', 'PixelData')


def _copy_of(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: function(*args)


def _maker_of(kind: type) -> type:
    """Return a class whose instances are those of ``kind``."""
    return type(kind.__name__, (), {'__new__': lambda cls: object.__new__(kind)})


class _SafePickleHandler(PickleHandler):
    """MMEngine's handler of ``.pkl`` with :func:`read_pickle`."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        return read_pickle(file, _name_of(file, sys._getframe(1)), **kwargs)


class _SafeYamlHandler(YamlHandler):
    """MMEngine's handler of ``.yml``, whose loader would call what a tag names."""

    def load_from_fileobj(self, file: IO[str], **kwargs: Any) -> Any:
        kwargs['Loader'] = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
        try:
            return super().load_from_fileobj(file, **kwargs)
        except yaml.YAMLError as error:
            source = _name_of(file, sys._getframe(1))
            tag = re.search(r'tag:yaml\.org,2002:(python/\S+?)\'', str(error))
            if tag is None:
                raise UserError(f'{source} cannot be read as YAML: {" ".join(str(error).split())}') from error
            raise UserError(f'{source} is not read: its tag !!{tag[1]} could run code; write plain values') from error


def _safe_pickle() -> ModuleType:
    """Return a module like :mod:`pickle` that reads by :func:`read_pickle`."""
    module = ModuleType('pickle', 'The module of that name, whose load and loads make plain data only.')
    vars(module).update({key: value for key, value in vars(pickle).items() if not key.startswith('__')})

    def load(file: BinaryIO, **kwargs: Any) -> Any:
        return read_pickle(file, _name_of(file, sys._getframe(1)), **kwargs)

    def loads(data: bytes, **kwargs: Any) -> Any:
        return read_pickle(io.BytesIO(data), _name_of(None, sys._getframe(1)), **kwargs)

    vars(module).update(load=load, loads=loads, Unpickler=_DataUnpickler)
    return module


def _for_toolkits(numpy_load: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``numpy.load`` that reads what the toolkits' modules allow to be a pickle by :func:`read_pickle`."""

    @functools.wraps(numpy_load)
    def load(file: Any, mmap_mode: Any = None, allow_pickle: bool = False, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        of_toolkit = caller.f_globals.get('__name__', '').partition('.')[0] in _TOOLKITS
        if not (allow_pickle and of_toolkit):
            return numpy_load(file, mmap_mode, allow_pickle, *args, **kwargs)
        source = _name_of(file, caller)
        if not isinstance(file, (str, Path)):
            if _is_array(file):
                return _load_array(numpy_load, file, source)
            return read_pickle(file, source)
        with open(file, 'rb') as stream:
            if not _is_array(stream):
                return read_pickle(stream, source)
        return _load_array(numpy_load, file, source)

    load.serves_toolkits = True  # type: ignore[attr-defined]
    return load


def _is_array(stream: BinaryIO) -> bool:
    """Whether ``.npy`` or ``.npz`` follows."""
    start = stream.read(len(np.lib.format.MAGIC_PREFIX))
    stream.seek(-len(start), io.SEEK_CUR)
    return start.startswith((np.lib.format.MAGIC_PREFIX, b'PK'))


def _load_array(numpy_load: Callable[..., Any], file: Any, source: str) -> Any:
    try:
        return numpy_load(file, allow_pickle=False)
    except ValueError as error:
        raise UserError(
            f'{source} is not read: it is damaged or holds objects, which could run code; {_REMEDY}'
        ) from error


def _name_of(file: Any, frame: FrameType | None) -> str:
    """Return the name of an open file, or what the functions around its reading call it."""
    for value in (file, getattr(file, 'name', None)):
        if isinstance(value, (str, Path)):
            return str(value)
    for _ in range(4):
        if frame is None:
            break
        for name in _FILE_NAMES:
            value = frame.f_locals.get(name)
            if isinstance(value, (str, Path)) and str(value):
                return str(value)
        frame = frame.f_back
    return 'a data file'
