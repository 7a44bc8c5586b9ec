"""Annotation files in COCO's format, as mmdet's ``CocoDataset`` reads them.

mmdet numbers the classes in the order in which the file lists its categories, and names them in the order of
``metainfo``; it leaves out objects of other categories and of boxes without an inside. All of that is silent.
"""

from __future__ import annotations

import difflib
import filecmp
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhyena.apis.checks.images import check_headers
from mmhyena.apis.checks.report import SplitReport, first

__all__ = ['check_coco', 'read_coco', 'same_annotations']

_PARTS = ('images', 'annotations', 'categories')


def read_coco(path: str | Path) -> dict[str, list[dict]] | str:
    """Return a COCO file, or why it is none."""
    try:
        text = Path(path).read_bytes()
        data = json.loads(text)
    except OSError as error:
        return f'cannot be read: {error.strerror}'
    except UnicodeDecodeError as error:
        return f'is no json file: {error.reason} at byte {error.start}'
    except ValueError as error:
        return f'is no json file: {error}' if text.strip() else 'is empty'
    except RecursionError:
        return 'is no json file in COCO format: it is nested too deeply'
    if not isinstance(data, dict):
        return f'is not in COCO format: it holds a {type(data).__name__}, not a dict with {", ".join(_PARTS)}'
    for part in _PARTS:
        if not isinstance(data.get(part), list):
            found = 'has no' if part not in data else f'has a {type(data[part]).__name__} for'
            return f'is not in COCO format: it {found} {part}, which must be a list'
        for i, entry in enumerate(data[part]):
            if not isinstance(entry, dict):
                return f'is not in COCO format: {part}[{i}] is {entry!r}, not a dict'
    return data


def check_coco(
    report: SplitReport, path: str, image_folder: str, *, masks: bool, crowd: bool, num_images: int, upright: bool
) -> None:
    """Check a COCO file, and its images by their headers.

    Args:
        report: Has the classes, and gets counts and problems.
        path: The file.
        image_folder: What ``file_name`` is relative to.
        masks: Whether every object needs a segmentation.
        crowd: Whether every object needs ``iscrowd``, as for evaluation.
        num_images: How many headers to read.
        upright: Whether images are turned by their EXIF orientation as they are read.
    """
    data = read_coco(path)
    if isinstance(data, str):
        report.problem(
            f'{report.split} annotations {path} {data}: write a COCO file there, or set {report.key}.ann_file'
        )
        return
    error = (
        _categories_error(report, data['categories'])
        or _images_error(data['images'])
        or _annotations_error(data, masks, crowd)
    )
    if error:
        report.problem(f'{report.split} annotations {path}: {error}')
        return
    _note_order(report, data['categories'])
    _count(report, data)
    paths = [str(Path(image_folder, image['file_name'])) for image in data['images']]
    sizes = [(image['width'], image['height']) for image in data['images']]
    check_headers(report, paths, sizes, num_images, upright)


def same_annotations(first_file: str, second_file: str) -> bool | str:
    """Whether two COCO files hold the same, in whichever order, or why one of them cannot be read."""
    if os.path.samefile(first_file, second_file) or filecmp.cmp(first_file, second_file, shallow=False):
        return True
    contents = []
    for path in (first_file, second_file):
        data = read_coco(path)
        if isinstance(data, str):
            return f'{path} {data}'
        images, annotations = ({str(entry.get('id')): entry for entry in data[part]} for part in _PARTS[:2])
        contents.append((images, annotations, [(entry.get('id'), entry.get('name')) for entry in data['categories']]))
    return contents[0] == contents[1]


def _categories_error(report: SplitReport, categories: Sequence[dict]) -> str | None:
    if not categories:
        return 'it lists no categories: list those of metainfo.classes'
    for i, category in enumerate(categories):
        if not isinstance(category.get('name'), str) or not _is_int(category.get('id')):
            return f'categories[{i}] must have an id and a name, got {category!r}'
    names = [category['name'] for category in categories]
    for what, values in (('id', [category['id'] for category in categories]), ('name', names)):
        if len(set(values)) < len(values):
            return f'categories have the {what} {_repeated(values)!r} twice: make them unique'
    if report.classes is None:
        return None
    setting = f'{report.key}.metainfo.classes'
    absent = [name for name in report.classes if name not in names]
    if absent:
        close = difflib.get_close_matches(absent[0], names, n=1)
        hint = f' (did you mean {close[0]!r}?)' if close else ''
        none = 'none of the classes' if len(absent) == len(report.classes) else f'no class {absent[0]!r}{hint}'
        return f'it has {none} of {setting}, and its categories are {first(names, 10)}: write the same names in both'
    return None


def _note_order(report: SplitReport, categories: Sequence[dict]) -> None:
    """Note whether categories have to be numbered by name, see :mod:`mmhyena.apis.checks.category_order`."""
    listed = [category for category in categories if report.classes is None or category['name'] in report.classes]
    ids = [category['id'] for category in listed]
    names = tuple(category['name'] for category in listed)
    report.by_name = ids != sorted(ids)
    if report.classes is None or names == report.classes:
        return
    report.by_name = True
    setting = f'{report.key}.metainfo.classes'
    report.order_error = (
        f'{report.split} annotations {report.source}: its categories are in the order {first(names, 10)}, but '
        f'{setting} in the order {first(report.classes, 10)}, so that names would be exchanged: write {setting}={names}'
    ).replace("'", '"')


def _images_error(images: Sequence[dict]) -> str | None:
    if not images:
        return 'it lists no images'
    for i, image in enumerate(images):
        if not _is_id(image.get('id')):
            return f'images[{i}] has the id {image.get("id")!r}: a whole number or a name is needed'
        if not isinstance(image.get('file_name'), str) or not image['file_name']:
            return f'image {image["id"]} has no file_name'
        for side in ('width', 'height'):
            if not _is_number(image.get(side)) or image[side] <= 0:
                return (
                    f'image {image["id"]} ({image["file_name"]}) has the {side} {image.get(side)!r}: write its pixels'
                )
    ids = [image['id'] for image in images]
    if len(set(ids)) < len(ids):
        return f'images have the id {_repeated(ids)!r} twice: make ids unique'
    return None


def _annotations_error(data: dict[str, list[dict]], masks: bool, crowd: bool) -> str | None:
    annotations = data['annotations']
    if not annotations:
        return 'it has no annotations: nothing can be learned from it or measured on it'
    sizes = {image['id']: (image['width'], image['height']) for image in data['images']}
    categories = {category['id'] for category in data['categories']}
    for i, annotation in enumerate(annotations):
        if not _is_id(annotation.get('id')):
            return f'annotations[{i}] has the id {annotation.get("id")!r}: a whole number is needed'
        error = _annotation_error(annotation, sizes, categories, masks, crowd)
        if error:
            return f'annotation {annotation["id"]} {error}'
    ids = [annotation['id'] for annotation in annotations]
    if len(set(ids)) < len(ids):
        return f'annotations have the id {_repeated(ids)!r} twice: make ids unique'
    outside = sum(_exceeds(annotation['bbox'], sizes[annotation['image_id']]) for annotation in annotations)
    if len(annotations) >= 4 and outside > len(annotations) / 2:
        return (
            f'{outside} of {len(annotations)} boxes reach beyond their images: a COCO bbox is [x, y, width, height], '
            'not [x1, y1, x2, y2]'
        )
    return None


def _annotation_error(
    annotation: dict, sizes: dict[Any, tuple[float, float]], categories: set, masks: bool, crowd: bool
) -> str | None:
    image, category = annotation.get('image_id'), annotation.get('category_id')
    if not _is_id(image) or image not in sizes:
        return f'is on the image {image!r}, which images does not list'
    if not _is_id(category) or category not in categories:
        return f'has the category {category!r}, which categories does not list'
    box = annotation.get('bbox')
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        return f'has the bbox {box!r}: four numbers [x, y, width, height] in pixels are needed'
    if box[2] < 0 or box[3] < 0:
        return f'has the bbox {box}, whose width or height is negative: [x, y, width, height] in pixels are needed'
    if not _is_number(annotation.get('area')):
        return f'has the area {annotation.get("area")!r}: write its number of pixels'
    if annotation.get('iscrowd', None if crowd else 0) not in (0, 1):
        return f'has iscrowd {annotation.get("iscrowd")!r}: write 0 or 1'
    if not masks and not annotation.get('segmentation'):
        return None
    return _segmentation_error(annotation.get('segmentation'), sizes[image])


def _segmentation_error(segmentation: Any, size: tuple[float, float]) -> str | None:
    """Return what is wrong with a segmentation: polygons, or run lengths of the image's size."""
    if not segmentation:
        return 'has no segmentation, which the model needs: add one, or train a detector without masks'
    if isinstance(segmentation, dict):
        expected = [size[1], size[0]]
        if 'counts' not in segmentation or segmentation.get('size') != expected:
            return f'has run lengths of the size {segmentation.get("size")!r} with an image of height, width {expected}'
        return None
    if not isinstance(segmentation, list):
        return f'has the segmentation {segmentation!r}: a list of polygons or run lengths are needed'
    for polygon in segmentation:
        usable = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
        if not usable or not all(_is_number(value) for value in polygon):
            return f'has the polygon {str(polygon)[:60]}: [x1, y1, x2, y2, x3, y3, ...] with 3 points or more is needed'
    return None


def _count(report: SplitReport, data: dict[str, list[dict]]) -> None:
    """Count objects by class as mmdet keeps them, and what it leaves out."""
    report.images, report.unit = len(data['images']), 'objects'
    sizes = {image['id']: (image['width'], image['height']) for image in data['images']}
    names = {category['id']: category['name'] for category in data['categories']}
    wanted = set(report.classes or names.values())
    report.counts = Counter(dict.fromkeys(report.classes or names.values(), 0))
    for annotation in data['annotations']:
        reason = _dropped_reason(annotation, sizes[annotation['image_id']], names[annotation['category_id']] in wanted)
        if reason:
            report.dropped[reason] += 1
        else:
            report.counts[names[annotation['category_id']]] += 1
    if not report.counts.total():
        report.problem(
            f'{report.split} annotations {report.source}: all {len(data["annotations"])} objects are left out '
            f'({first(report.dropped)}): boxes are [x, y, width, height] in pixels'
        )
    elif report.dropped.total():
        reasons = ', '.join(f'{count} {reason}' for reason, count in report.dropped.items())
        report.notes.append(
            f'{report.split}: {report.dropped.total()} of {len(data["annotations"])} objects left out: {reasons}'
        )
    empty = [name for name, count in report.counts.items() if not count]
    if empty:
        report.notes.append(f'{report.split}: no objects of {first(empty)}')


def _dropped_reason(annotation: dict, size: tuple[float, float], wanted: bool) -> str | None:
    """Return why mmdet leaves an object out, in the order in which it asks."""
    x, y, width, height = annotation['bbox']
    if annotation.get('ignore', False):
        return 'marked as ignored'
    if min(x + width, size[0]) <= max(x, 0) or min(y + height, size[1]) <= max(y, 0):
        return 'outside the image'
    if annotation['area'] <= 0 or width < 1 or height < 1:
        return 'below one pixel'
    return None if wanted else 'of other categories'


def _exceeds(box: Sequence[float], size: tuple[float, float]) -> bool:
    return box[0] + box[2] > size[0] + 1.5 or box[1] + box[3] > size[1] + 1.5


def _repeated(values: Sequence[Any]) -> Any:
    return Counter(values).most_common(1)[0][0]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return _is_int(value) or isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
