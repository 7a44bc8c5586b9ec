"""Image files of a data set: whether they are there, and their size by their headers."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mmhyena.apis.checks.report import SplitReport, first

__all__ = ['Header', 'check_headers', 'find_missing', 'read_header', 'spread']

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True)
class Header:
    """Width and height of an image as it is read, upright, and whether the file has it turned."""

    width: int
    height: int
    turned: bool


def read_header(path: str | Path) -> Header | str:
    """Return what an image's header says, without decoding the image, or why it cannot be read."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    except UnidentifiedImageError:
        return 'is empty' if os.path.getsize(path) == 0 else 'is no image'
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f'cannot be read: {error}'
    return Header(height, width, True) if turned else Header(width, height, False)


def find_missing(paths: Sequence[str]) -> list[str]:
    """Return the files that are not there, with one listing per folder instead of a look at each file."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folders[os.path.dirname(path)].append(path)
    missing = []
    for folder, files in folders.items():
        try:
            present = set(os.listdir(folder or '.'))
        except OSError:
            present = set()
        missing += [path for path in files if os.path.basename(path) not in present]
    return missing


def spread(items: Sequence, num: int) -> list:
    """Return ``num`` items from all over a sequence, or all if there are fewer."""
    if num >= len(items):
        return list(items)
    return [items[i * len(items) // num] for i in range(num)]


def check_headers(
    report: SplitReport, paths: Sequence[str], sizes: Sequence[tuple[int, int]] | None, num: int, upright: bool = True
) -> None:
    """Check that images are there, and look at the headers of some.

    Args:
        report: Gets the sizes and the problems.
        paths: Image files.
        sizes: Width and height of each as its annotations have them, or None.
        num: How many headers to read; 0 reads none.
        upright: Whether the pipeline turns images by their EXIF orientation, as mmcv does by default.
    """
    missing = find_missing(paths)
    if missing:
        report.problem(
            f'{report.split} data: {len(missing)} of {len(paths)} images are not there ({first(missing, 2)}): put them '
            f'there, or correct {report.key}.data_prefix'
        )
        return
    for i in spread(range(len(paths)), num):
        header = read_header(paths[i])
        if isinstance(header, str):
            report.notes.append(f'{report.split} image {paths[i]} {header}')
            continue
        if header.turned and not upright:
            header = Header(header.height, header.width, False)
        report.sizes[header.width, header.height] += 1
        if sizes is not None and (header.width, header.height) != tuple(sizes[i]):
            how = 'its EXIF orientation turns it to' if header.turned else 'it has'
            report.problem(
                f'{report.split} image {paths[i]}: {report.source} says {sizes[i][0]} x {sizes[i][1]} pixels, but '
                f'{how} {header.width} x {header.height}: correct width and height there, or '
                f'{"store the image upright without EXIF orientation" if header.turned else "restore the image"}'
            )
            return
