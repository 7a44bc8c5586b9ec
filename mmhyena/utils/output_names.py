"""Names of the files that are written about images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmhyena.errors import UserError

__all__ = ['output_names']


def output_names(images: Sequence[str | Path], out_dir: str | Path, option: str) -> dict[str, Path]:
    """Return where to write about each image, without suffix: below ``out_dir`` as the images lie below their folder.

    Args:
        images: Image files, from any number of folders.
        out_dir: Folder that the pictures go to.
        option: What the user set it with, for the error.

    Raises:
        UserError: If a picture (png) would replace one of the images.
    """
    paths = {str(image): Path(os.path.abspath(image)) for image in images}
    if not paths:
        return {}
    root = os.path.commonpath([path.parent for path in paths.values()])
    stems = Counter(path.with_suffix('') for path in set(paths.values()))
    names = {}
    for image, path in paths.items():
        # a.jpg and a.png in one folder must not overwrite each other.
        name = path.stem if stems[path.with_suffix('')] == 1 else path.name
        names[image] = Path(out_dir, path.parent.relative_to(root), name)
    taken = {os.path.realpath(path) for path in paths.values()}
    for target in names.values():
        if os.path.realpath(f'{target}.png') in taken:
            raise UserError(f'{option} {out_dir}: {target}.png would replace an image: choose another folder')
    return names
