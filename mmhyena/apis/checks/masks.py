"""Label maps of semantic segmentation, as mmseg's ``BaseSegDataset`` and ``LoadAnnotations`` read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from mmhyena.apis.checks.images import find_missing, read_header, spread
from mmhyena.apis.checks.report import SplitReport, first

__all__ = ['check_label_maps']


def check_label_maps(
    report: SplitReport,
    pairs: Sequence[tuple[str, str]],
    *,
    reduce_zero_label: bool,
    label_map: dict[int, int] | None,
    ignore_index: int,
    num: int,
) -> None:
    """Check label maps: whether they are there, of their images' size, and their labels those of the classes.

    Args:
        report: Has the classes, and gets counts and problems.
        pairs: Files of image and label map.
        reduce_zero_label: Whether label 0 is ignored and the others are shifted down by one.
        label_map: Labels of the file to those of the classes, or None.
        ignore_index: Label that is ignored.
        num: How many label maps to read.
    """
    missing = find_missing([label_file for _, label_file in pairs])
    if missing:
        report.problem(
            f'{report.split} data: {len(missing)} of {len(pairs)} label maps are not there ({first(missing, 2)}): put '
            f'them there, or correct {report.key}.data_prefix.seg_map_path and seg_map_suffix'
        )
        return
    seen: dict[int, str] = {}
    pixels = np.zeros(256, np.int64)
    for image_file, label_file in spread(pairs, num):
        labels = _read(label_file)
        if isinstance(labels, str):
            report.problem(f'{report.split} label map {label_file} {labels}')
            return
        header = read_header(image_file)
        if isinstance(header, str):
            report.notes.append(f'{report.split} image {image_file} {header}')
        elif (header.width, header.height) != labels.shape[::-1]:
            report.problem(
                f'{report.split} label map {label_file} has {labels.shape[1]} x {labels.shape[0]} pixels, but its '
                f'image {header.width} x {header.height}: make them one size'
            )
            return
        else:
            report.sizes[header.width, header.height] += 1
        counted = np.bincount(labels.ravel(), minlength=256)
        pixels += counted[:256]
        for label in np.flatnonzero(counted):
            seen.setdefault(int(label), label_file)
    if seen and report.classes:
        _count(report, pixels, reduce_zero_label, label_map, ignore_index)
        error = _labels_error(report, seen, reduce_zero_label, len(label_map or report.classes), ignore_index)
        if error:
            report.problem(error)
        elif label_map is None:
            _note_zero(report, seen, reduce_zero_label)


def _note_zero(report: SplitReport, seen: Mapping[int, str], reduced: bool) -> None:
    """Note where label 0 may mean something else than the config says."""
    classes = report.classes or ()
    if reduced and 0 in seen and len(classes) not in seen:
        report.notes.append(
            f'{report.split}: label 0 occurs and is ignored, label {len(classes)} ({classes[-1]}) does not occur: if '
            f'0 is {classes[0]}, set --cfg-options reduce_zero_label=False'
        )
    elif not reduced and 0 not in seen:
        report.notes.append(
            f'{report.split}: label 0 ({classes[0]}) does not occur: if labels start at 1, set --cfg-options '
            'reduce_zero_label=True'
        )


def _read(path: str) -> np.ndarray | str:
    """Return a label map (H, W), or why it is none."""
    try:
        with Image.open(path) as image:
            if len(image.getbands()) > 1:
                return (
                    f'is a color image ({image.mode}): a label map has one channel, which holds the number of the '
                    'class of each pixel'
                )
            labels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f'cannot be read: {error}'
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        return f'holds {labels.dtype} values: a label map holds whole numbers'
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        return f'holds the label {int(labels.min() if labels.min() < 0 else labels.max())}: labels go from 0 to 255'
    return labels


def _labels_error(
    report: SplitReport, seen: dict[int, str], reduced: bool, num_classes: int, ignore_index: int
) -> str | None:
    """Return what is wrong with the labels that occur in a split."""
    classes = f'{num_classes} classes ({first(report.classes or (), 6)})'
    labels = sorted(seen)
    setting = '--cfg-options reduce_zero_label'
    if labels == [0, 255]:
        return (
            f'{report.split} label maps hold only 0 and 255 ({seen[255]}), and {ignore_index} is ignored: write 1 '
            f'instead of 255, and set {setting}=False'
        )
    lowest, highest = int(reduced), num_classes - 1 + int(reduced)
    beyond = [label for label in labels if label > highest and label not in (255, ignore_index)]
    if beyond:
        shift = not reduced and beyond == [num_classes] and 0 not in seen
        fix = (
            f'set {setting}=True, since label 0 does not occur'
            if shift
            else 'correct the label maps or metainfo.classes'
        )
        return (
            f'{report.split} label map {seen[beyond[0]]} holds the label {beyond[0]}, but labels of {classes} go from '
            f'{lowest} to {highest}: {fix}'
        )
    valid = [label for label in labels if lowest <= label <= highest]
    if not valid:
        return (
            f'{report.split} label maps hold nothing but ignored labels ({first(labels)}): labels of {classes} go '
            f'from {lowest} to {highest}'
        )
    if reduced and 0 in seen and highest not in seen and set(range(1, num_classes)) <= set(labels):
        return (
            f'{report.split} label maps hold the labels 0 to {num_classes - 1} of {classes}, but '
            f'reduce_zero_label is True, which ignores 0 and shifts the others: set {setting}=False'
        )
    return None


def _count(
    report: SplitReport, pixels: np.ndarray, reduced: bool, label_map: dict[int, int] | None, ignore_index: int
) -> None:
    """Count the pixels of each class as mmseg numbers them."""
    report.unit = 'pixels'
    assert report.classes is not None
    for name in report.classes:
        report.counts[name] = 0
    for label, count in enumerate(pixels.tolist()):
        if not count:
            continue
        new = (label - 1 if 0 < label < 255 else 255) if reduced else label
        new = (label_map or {}).get(new, new)
        if new == ignore_index or new >= len(report.classes):
            report.dropped['ignored pixels' if new in (255, ignore_index) else 'pixels beyond the classes'] += count
        else:
            report.counts[report.classes[new]] += count
