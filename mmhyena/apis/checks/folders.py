"""Folders of images by class, as mmpretrain's ``CustomDataset`` reads them, and its lists of files with labels.

mmpretrain numbers the classes of each split by that split's own folders, so one folder more or less in the validation
set shifts all labels behind it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmhyena.apis.checks.images import check_headers
from mmhyena.apis.checks.report import SplitReport, first

__all__ = ['check_class_folders', 'check_list', 'class_folders', 'folders_error']


def class_folders(root: str) -> tuple[str, ...]:
    """Return the folders inside ``root`` in the order in which mmpretrain numbers them."""
    with os.scandir(root) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith('.')))


def check_class_folders(report: SplitReport, root: str, suffixes: Sequence[str], num: int) -> None:
    """Count the images of each class folder, and look at the headers of some."""
    folders = class_folders(root)
    if not folders:
        report.problem(f'{report.split} data {root} has no class folders: one folder per class is needed')
        return
    paths: list[str] = []
    for folder in folders:
        found = [
            os.path.join(place, name)
            for place, _, names in os.walk(os.path.join(root, folder))
            for name in sorted(names)
            if name.lower().endswith(tuple(suffixes))
        ]
        report.counts[folder] = len(found)
        paths += found
    report.images = len(paths)
    if not paths:
        report.problem(f'{report.split} data {root} has no images ({", ".join(sorted(suffixes))}) in its class folders')
        return
    empty = [folder for folder in folders if not report.counts[folder]]
    if empty:
        report.notes.append(f'{report.split}: no images in the class folders {first(empty)}')
    check_headers(report, paths, None, num)


def folders_error(report: SplitReport, folders: Sequence[str], classes: Sequence[str], source: str) -> str | None:
    """Return what is wrong with class folders that are to be numbered by ``classes``, which come from ``source``."""
    stray = [folder for folder in folders if folder not in classes]
    if not stray:
        return None
    return (
        f'{report.split} data {report.source} has the class folder {first(stray)}, which is none of the '
        f'{len(classes)} classes of {source} ({first(classes)}): remove it, or rename it'
    )


def check_list(report: SplitReport, path: str, image_folder: str, num: int) -> None:
    """Check a list with a file and its label on each line."""
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        report.problem(f'{report.split} list {path} cannot be read: {error}')
        return
    paths, labels = [], []
    for number, line in enumerate(lines, start=1):
        name, _, label = line.strip().rpartition(' ')
        if not name or not label.isdecimal():
            report.problem(f'{report.split} list {path}, line {number}: {line[:60]!r} is not of the form "FILE LABEL"')
            return
        paths.append(os.path.join(image_folder, name))
        labels.append(int(label))
    report.images = len(paths)
    if not paths:
        report.problem(f'{report.split} list {path} is empty: write "FILE LABEL" on each line')
        return
    number_of_classes = max(labels) + 1
    if report.classes is not None and number_of_classes > len(report.classes):
        where = labels.index(max(labels)) + 1
        report.problem(
            f'{report.split} list {path}, line {where}: the label {max(labels)} is beyond the '
            f'{len(report.classes)} classes, which are numbered from 0: correct the list or '
            f'{report.key}.metainfo.classes'
        )
        return
    names = report.classes or tuple(map(str, range(number_of_classes)))
    report.counts = Counter(dict.fromkeys(names, 0))
    report.counts.update(names[label] for label in labels)
    check_headers(report, paths, None, num)
