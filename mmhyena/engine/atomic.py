"""Files that are there as a whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mmhyena.errors import UserError

__all__ = ['TEMPORARY', 'describe_os_error', 'publish', 'remove', 'write_text']

TEMPORARY = '.{}.tmp'
"""Name of a file while it is written."""


def publish(temporary: Path, final: Path) -> None:
    """Put a finished file or folder in its place, after its content has reached the disk."""
    if temporary.is_dir():
        for file in temporary.rglob('*'):
            if file.is_file():
                _sync(file)
        remove(final)  # a folder can only be moved to where there is none
    else:
        _sync(temporary)
    os.replace(temporary, final)
    _sync(final.parent)


def write_text(path: Path, text: str) -> None:
    """Write a small file.

    Raises:
        UserError: If the folder cannot be written to or the disk is full; the file is as it was before.
    """
    temporary = path.with_name(TEMPORARY.format(path.name))
    try:
        temporary.write_text(text)
        publish(temporary, path)
    except OSError as error:
        remove(temporary)
        raise UserError(describe_os_error(error, path)) from error


def remove(path: Path) -> None:
    """Delete a file or folder if it is there; one that cannot be deleted is left."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # removing what is superseded must not stop a run, and a read-only folder has its own message


def describe_os_error(error: OSError, path: str | Path) -> str:
    """Return one line for a file that cannot be written."""
    return f'{path} cannot be written ({error.strerror or error}): free some space, or choose another --work-dir'


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some file systems cannot synchronize folders
            raise
    finally:
        os.close(handle)
