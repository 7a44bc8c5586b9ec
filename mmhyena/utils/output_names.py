"""Names of the files that are written about images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmhyena.errors import UserError

__all__ = ['output_names']


def output_names(
    images: Sequence[str | Path],
    out_dir: str | Path,
    option: str,
    root: str | Path | None = None,
    suffixes: Sequence[str] = ('.png',),
) -> dict[str, Path]:
    """Return the output file of each input, without suffix: below ``out_dir`` as the input lies below ``root``.

    Args:
        images: Image or video files, from any number of folders.
        out_dir: Folder for the output.
        option: Name of the command-line option that sets it, for the error.
        root: Folder that contains all files; by default their common folder.
        suffixes: Of the files that will be written.

    Raises:
        UserError: If an output would replace an input.
    """
    paths = {str(image): Path(os.path.abspath(image)) for image in images}
    if not paths:
        return {}
    root = os.path.abspath(root) if root is not None else os.path.commonpath([path.parent for path in paths.values()])
    stems = Counter(path.with_suffix('') for path in set(paths.values()))
    names = {}
    for image, path in paths.items():
        # a.jpg and a.png in one folder must not overwrite each other.
        name = path.stem if stems[path.with_suffix('')] == 1 else path.name
        names[image] = Path(out_dir, path.parent.relative_to(root), name)
    taken = {os.path.realpath(path) for path in paths.values()}
    for output in (f'{target}{suffix}' for target in names.values() for suffix in suffixes):
        if os.path.realpath(output) in taken:
            kind = 'an image' if output.endswith('.png') else 'an input'
            raise UserError(f'{option} {out_dir}: {output} would replace {kind}: choose another folder')
    return names
