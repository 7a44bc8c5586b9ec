"""The kinds of file that are taken for a checkpoint, told apart by their content."""

from __future__ import annotations

import os
import re
import zipfile
from typing import BinaryIO, Literal

from mmhyena.errors import CheckpointError

__all__ = ['Format', 'identify']

Format = Literal['zip', 'pickle', 'safetensors']

_TRUNCATED = 'it is truncated or damaged; copy or download it again'
# What is often saved under the name of a checkpoint.
_OTHERS = (
    (re.compile(rb'version https://git-lfs'), 'it is a Git LFS pointer, not the file itself; run git lfs pull'),
    (
        re.compile(rb'\s*<(!doctype|html|head|\?xml|!--)', re.IGNORECASE),
        'it is a web page; open the address in a browser and take the link of the download itself',
    ),
    (re.compile(rb'\s*[{\[]'), 'it is JSON; name the file with the weights'),
    (re.compile(rb'\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|\x28\xb5\x2f\xfd'), 'it is a compressed archive; unpack it first'),
    (re.compile(rb'\x89HDF'), 'it is an HDF5 file; only files of torch.save and safetensors are read'),
)


def identify(stream: BinaryIO, source: str) -> Format:
    """Return the format of a checkpoint by its first bytes and its completeness; the stream is left at its start.

    Args:
        stream: The file, open at its start.
        source: What to call it in errors.

    Returns:
        ``'zip'`` is what ``torch.save`` writes since torch 1.6, ``'pickle'`` what it wrote before.

    Raises:
        CheckpointError: If it is empty, truncated, or of another kind.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(512)
    stream.seek(0)
    if not head:
        raise CheckpointError(f'{source} cannot be read: it is empty (0 bytes); copy or download it again')
    if head.startswith(b'PK\x03\x04'):
        _check_archive(stream, source)
        return 'zip'
    if head.startswith(b'\x80'):
        if not head.startswith(b'\x80\x02'):
            raise CheckpointError(
                f'{source} cannot be read: it is a pickle, but not of torch.save; save the state dict with torch.save'
            )
        return 'pickle'
    if head[8:9] == b'{':
        # Eight bytes give the length of a header in JSON.
        if 8 + int.from_bytes(head[:8], 'little') > size:
            raise CheckpointError(f'{source} cannot be read: {_TRUNCATED}')
        return 'safetensors'
    what = next((text for pattern, text in _OTHERS if pattern.match(head)), None)
    if what is None and head[257:262] == b'ustar':
        what = 'it is a tar archive, a format of torch before 0.2 that cannot be read safely'
    raise CheckpointError(
        f'{source} cannot be read: {what or "it is no checkpoint, neither of torch.save nor of safetensors"}'
    )


def _check_archive(stream: BinaryIO, source: str) -> None:
    """Check that a zip archive is complete and one of ``torch.save``."""
    try:
        with zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f'{source} cannot be read: {_TRUNCATED}') from error
    finally:
        stream.seek(0)
    if any(name.endswith('/constants.pkl') or '/code/' in name for name in names):
        raise CheckpointError(
            f'{source} cannot be read: it is a TorchScript program, not weights; save the state dict of its model'
        )
    if not any(name.endswith('/data.pkl') for name in names):
        raise CheckpointError(
            f'{source} cannot be read: it is a zip archive, but not of torch.save; unpack it if it holds a checkpoint'
        )
