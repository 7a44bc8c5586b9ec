"""Downloads of files that a user names by their address, within limits of size and time."""

from __future__ import annotations

import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from mmhyena.errors import UserError, one_line

__all__ = ['download_file', 'is_url']

_BLOCK = 1 << 16


def is_url(source: object) -> bool:
    """Return whether ``source`` is an http(s) address."""
    return isinstance(source, str) and source.lower().startswith(('http://', 'https://'))


def download_file(
    url: str, folder: str | Path, max_bytes: int = 500_000_000, max_seconds: float = 300, timeout: float = 20
) -> Path:
    """Download a file into a folder, under the last part of its address.

    Args:
        url: An http(s) address.
        folder: An existing folder.
        max_bytes: Larger files are refused: at once if the server states the size, else when the limit is reached.
        max_seconds: Limit of the whole download.
        timeout: Seconds to wait for the server's next answer.

    Raises:
        UserError: If the server cannot be reached or has no such file, or at a limit. No partial file is left.
    """
    file = Path(folder) / (Path(unquote(urlsplit(url).path)).name or 'download')
    deadline = time.monotonic() + max_seconds
    try:
        # Some servers refuse urllib's own user agent.
        with urlopen(Request(url, headers={'User-Agent': 'mmhyena'}), timeout=timeout) as answer:
            expected = answer.headers.get('Content-Length')
            size = int(expected) if expected and expected.isdigit() else None
            _check_size(url, size or 0, max_bytes)
            received = 0
            with file.open('wb') as stream:
                while block := answer.read1(_BLOCK):
                    received += len(block)
                    _check_size(url, received, max_bytes)
                    if time.monotonic() > deadline:
                        raise UserError(f'{url} took more than {max_seconds:g} s to download: download it elsewhere')
                    stream.write(block)
        if size is not None and received < size:
            raise UserError(f'{url} ended after {received} of {size} bytes: try again')
    except UserError:
        file.unlink(missing_ok=True)
        raise
    except (OSError, HTTPException, ValueError) as error:
        file.unlink(missing_ok=True)
        reason = f'the server answered {error.code} {error.reason}' if isinstance(error, HTTPError) else one_line(error)
        raise UserError(f'{url} cannot be downloaded: {reason}; check the address, or download it elsewhere') from error
    return file


def _check_size(url: str, size: int, limit: int) -> None:
    if size > limit:
        raise UserError(f'{url} has more than {limit / 1e6:g} MB: download it elsewhere and name the file')
