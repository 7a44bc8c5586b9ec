"""Files that run code when they are unpickled without protection, each leaving a marker."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

STATE = {'a.weight': torch.ones(2)}


class Reduce:
    """An object whose unpickling calls ``function(*args)``."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def command(marker: Path) -> Reduce:
    return Reduce(os.system, f'touch {marker}')


def _state_dict(file: Path, marker: Path) -> None:
    torch.save({'state_dict': STATE, 'payload': command(marker)}, file)


def _in_meta(file: Path, marker: Path) -> None:
    torch.save({'state_dict': STATE, 'meta': {'cfg': command(marker)}}, file)


def _instead_of_a_tensor(file: Path, marker: Path) -> None:
    torch.save({'a.weight': command(marker)}, file)


def _eval(file: Path, marker: Path) -> None:
    torch.save({'state_dict': STATE, 'x': Reduce(builtins.eval, f'open({str(marker)!r}, "w")')}, file)


def _exec(file: Path, marker: Path) -> None:
    torch.save({'state_dict': STATE, 'x': Reduce(builtins.exec, f'open({str(marker)!r}, "w")')}, file)


def _legacy(file: Path, marker: Path) -> None:
    torch.save({'state_dict': STATE, 'x': command(marker)}, file, _use_new_zipfile_serialization=False)


def _plain_pickle(file: Path, marker: Path, protocol: int = 2) -> None:
    file.write_bytes(pickle.dumps({'state_dict': {}, 'x': command(marker)}, protocol))


def _oldest_pickle(file: Path, marker: Path) -> None:
    _plain_pickle(file, marker, 0)


def _newest_pickle(file: Path, marker: Path) -> None:
    _plain_pickle(file, marker, pickle.HIGHEST_PROTOCOL)


def _legacy_magic(file: Path, marker: Path) -> None:
    """The header of torch's old format, and a payload where the content should be."""
    header = [0x1950A86A20F9469CFC6C, 1001, dict(protocol_version=1001, little_endian=True, type_sizes={})]
    file.write_bytes(b''.join(pickle.dumps(part, 2) for part in (*header, command(marker))))


def _tar(file: Path, marker: Path) -> None:
    """The format before torch 0.1.10."""
    with tarfile.open(file, 'w') as archive:
        for name in ('storages', 'tensors', 'pickle'):
            content = pickle.dumps(command(marker), 2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _object_array(file: Path, marker: Path) -> None:
    torch.save({'state_dict': STATE, 'x': np.array([command(marker)], dtype=object)}, file)


def _nested(file: Path, marker: Path) -> None:
    """A storage given as the bytes of another file of torch.save."""
    inner = io.BytesIO()
    torch.save({'x': command(marker)}, inner)
    load = torch.storage._load_from_bytes
    torch.save({'state_dict': STATE, 'x': Reduce(load, inner.getvalue())}, file)


def _npz(file: Path, marker: Path) -> None:
    with zipfile.ZipFile(file, 'w') as archive, archive.open('x.npy', 'w') as stream:
        np.lib.format.write_array(stream, np.array([command(marker)], dtype=object), allow_pickle=True)


def _archive(file: Path, content: bytes, names: tuple[str, ...] = ()) -> None:
    """Write an archive as ``torch.save`` does, around any pickle."""
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('archive/data.pkl', content)
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/byteorder', 'little')
        for name in names:
            archive.writestr(name, content)


def _script(file: Path, marker: Path) -> None:
    content = pickle.dumps(command(marker), 2)
    _archive(file, content, ('archive/constants.pkl', 'archive/code/__torch__.py'))


def _text(value: str) -> bytes:
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


HISTORY = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
GETATTR = b'cbuiltins\ngetattr\n'


def _call(function: bytes, *args: bytes) -> bytes:
    return function + b'(' + b''.join(args) + b'tR'


def _getattr(file: Path, marker: Path) -> None:
    """From the one class that MMEngine needs to every builtin, by ``getattr``."""
    reach = _call(GETATTR, HISTORY, _text('__getattribute__'))
    init = _call(GETATTR, HISTORY, _text('__init__'))
    module_globals = _call(reach, init, _text('__globals__'))
    builtins_dict = _call(_call(reach, module_globals, _text('__getitem__')), _text('__builtins__'))
    evaluate = _call(_call(reach, builtins_dict, _text('__getitem__')), _text('eval'))
    _archive(file, b'\x80\x02' + _call(evaluate, _text(f'open({str(marker)!r}, "w")')) + b'.')


def _plain_getattr(file: Path, marker: Path) -> None:
    system = _call(GETATTR, b'cos\n__dict__\n', _text('get'))
    _archive(file, b'\x80\x02' + _call(_call(system, _text('system')), _text(f'touch {marker}')) + b'.')


def _instance(file: Path, marker: Path) -> None:
    """The opcode INST, which imports and calls at once."""
    _archive(file, b'(' + b'S' + repr(f'touch {marker}').encode() + b'\nios\nsystem\n.')


def _stack_global(file: Path, marker: Path) -> None:
    _archive(file, b'\x80\x04' + _text('os') + _text('system') + b'\x93' + b'(' + _text(f'touch {marker}') + b'tR.')


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    make.__name__.strip('_'): make
    for make in (
        _state_dict,
        _in_meta,
        _instead_of_a_tensor,
        _eval,
        _exec,
        _legacy,
        _plain_pickle,
        _oldest_pickle,
        _newest_pickle,
        _legacy_magic,
        _tar,
        _object_array,
        _nested,
        _npz,
        _script,
        _getattr,
        _plain_getattr,
        _instance,
        _stack_global,
    )
}
