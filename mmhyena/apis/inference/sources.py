"""Files, folders, globs, URLs and cameras as the demo takes them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from mmhyena.apis.inference.images import IMAGE_SUFFIXES, find_images
from mmhyena.apis.inference.video import VIDEO_SUFFIXES, is_video
from mmhyena.errors import UserError
from mmhyena.utils.download import download_file, is_url
from mmhyena.utils.output_names import output_names

__all__ = ['Sources', 'find_sources']


@dataclass
class Sources:
    """What to run a model on.

    Attributes:
        images: Image files.
        videos: Video files.
        camera: Index of a camera, or None.
        targets: Output file per input, without suffix; a camera's key is its index as text.
        names: Names to show in place of a file's own, of downloaded files.
    """

    images: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    camera: int | None = None
    targets: dict[str, Path] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def find_sources(source: str, out_dir: str | Path, download_dir: str | Path, option: str = '--out-dir') -> Sources:
    """Return the images and videos that a file, folder (with its subfolders), glob or URL names, or a camera.

    Args:
        source: A file, a folder, a glob, an http(s) address, or the index of a camera such as '0'.
        out_dir: Folder for the output. Inputs within it are left out if it lies within a folder ``source``, since they
            are the output of an earlier run.
        download_dir: Folder for downloads.
        option: Name of the command-line option that sets ``out_dir``, for the error.

    Raises:
        UserError: If there is nothing, a download fails, or an output would replace an input.
    """
    if source.isdecimal() and not Path(source).exists():
        return Sources(camera=int(source), targets={source: Path(out_dir, f'camera{int(source)}')})
    names: dict[str, str] = {}
    root: Path | None
    if is_url(source):
        file = download_file(source, download_dir)
        files, root = [file], Path(download_dir)
        names[str(file)] = source
    else:
        files, root = _find_files(source, Path(out_dir))
    targets = output_names(files, out_dir, option, root, suffixes=('.png', '.mp4', '.json'))
    videos = [file for file in files if is_video(file)]
    return Sources([file for file in files if not is_video(file)], videos, None, targets, names)


def _find_files(source: str, out_dir: Path) -> tuple[list[Path], Path | None]:
    """Return files, and the folder that their relative paths start at; None for their common folder."""
    files = find_images(source, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES), recursive=True)
    if not Path(source).is_dir():
        return files, None
    root, out = os.path.realpath(source), os.path.realpath(out_dir)
    if out.startswith(os.path.join(root, '')):
        files = [file for file in files if not os.path.realpath(file).startswith(os.path.join(out, ''))]
        if not files:
            raise UserError(f'no image at {source} other than those in --out-dir {out_dir}')
    return files, Path(source)
