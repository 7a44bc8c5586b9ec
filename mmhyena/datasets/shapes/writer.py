"""The Shapes tree on disk: COCO (instances and panoptic), ADE20K and ImageNet formats at once, and its manifest."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmhyena.datasets.manifest import Counter, GeneratedFolder, Progress
from mmhyena.datasets.shapes.far_context import FAR_MIN_SIDE, render_far_context
from mmhyena.datasets.shapes.figures import CLASSES
from mmhyena.datasets.shapes.scene import SPLITS, Scene, render_scene, render_single

DEFAULT_CLS_SIZE = 64
VERSION = 5
"""Version of the pictures; raised whenever the same parameters would give other pixels or another tree."""

VARIANTS = ('standard', 'far-context')
JPEG_QUALITY = 95
ADE_NAMES = {'train': 'training', 'val': 'validation'}
OWN_ENTRIES = (*SPLITS, 'images', 'annotations', 'classification')


def generate_shapes(
    out: str | os.PathLike,
    *,
    train: int = 1200,
    val: int = 150,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    cls_train: int | None = None,
    cls_val: int | None = None,
    cls_size: int | None = None,
    variant: str = 'standard',
    figure_side: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> bool:
    """Write the Shapes data set, or keep the one that is there if it is complete and has the same parameters.

    Args:
        out: Folder of the data set; created if missing.
        train: Number of training images for detection and segmentation.
        val: Number of validation images.
        size: Side of these images, or (height, width), pixels; by default 160, and 96 for ``'far-context'``.
        seed: Seed; the same parameters give the same bytes.
        cls_train: Number of classification images to train on, ``train`` by default.
        cls_val: Number of classification images to validate on, ``val`` by default.
        cls_size: Side of the classification images, pixels; by default 64, and the shorter side of ``size`` for the
            variant ``'far-context'``.
        variant: ``'standard'``, or ``'far-context'``: figures that look alike, whose class a distant mark gives, see
            :mod:`mmhyena.datasets.shapes.far_context`.
        figure_side: Side of the images whose figure sizes and figures per area these images take over, pixels, so that
            a larger ``size`` shows more of the same; see :func:`~mmhyena.datasets.shapes.scene.render_scene`.
        force: Replace a Shapes data set that has other parameters.
        progress: Called as ``progress(done, total)`` after every image.

    Returns:
        True if images were written, False if the data set was there already.

    Raises:
        DatasetFolderError: ``out`` holds something else, or Shapes with other parameters and ``force`` is off.
        ValueError: a parameter is out of range.
        OSError: ``out`` cannot be written.
    """
    far = variant == 'far-context'
    if size is None:
        size = FAR_MIN_SIDE if far else 160
    height, width = (size, size) if isinstance(size, int) else size
    if variant not in VARIANTS:
        raise ValueError(f"variant is '{variant}'; it must be one of {', '.join(VARIANTS)}")
    if far and figure_side is not None:
        raise ValueError('figure_side belongs to the standard variant: figures of far-context have one range of sizes')
    if cls_size is None:
        cls_size = min(height, width) if far else DEFAULT_CLS_SIZE
    parameters: dict[str, Any] = {
        'train': train,
        'val': val,
        'size': [height, width],
        'seed': seed,
        'cls_train': train if cls_train is None else cls_train,
        'cls_val': val if cls_val is None else cls_val,
        'cls_size': cls_size,
        # Left out by default, so that folders of earlier versions stay valid.
        **({'variant': variant} if far else {}),
        **({} if figure_side is None else {'figure_side': figure_side}),
    }
    for name in ('train', 'val', 'cls_train', 'cls_val', 'seed'):
        if parameters[name] < 0:
            raise ValueError(f'{name} is {parameters[name]}; it must not be negative')
    # Fails on a bad size before anything on disk is touched.
    _render_scene(0, 'train', parameters)
    _render_single(0, 0, 'train', parameters)

    folder = GeneratedFolder(out, 'Shapes', VERSION, parameters, OWN_ENTRIES)
    if not folder.open(force):
        return False
    counter = Counter(progress, train + val + parameters['cls_train'] + parameters['cls_val'])
    for split in SPLITS:
        _write_scenes(folder.root, split, parameters, counter)
        _write_singles(folder.root, split, parameters, counter)
    folder.close()
    return True


def _render_scene(index: int, split: str, parameters: dict) -> Scene:
    shared = dict(seed=parameters['seed'], split=split, size=tuple(parameters['size']))
    if 'variant' in parameters:
        return render_far_context(index, **shared)
    return render_scene(index, **shared, figure_side=parameters.get('figure_side'))


def _render_single(index: int, label: int, split: str, parameters: dict) -> np.ndarray:
    shared = dict(seed=parameters['seed'], split=split, size=(parameters['cls_size'],) * 2)
    if 'variant' in parameters:
        return render_far_context(index, label=label, **shared).image
    return render_single(index, label, **shared)


def _write_scenes(root: Path, split: str, parameters: dict, counter: Counter) -> None:
    """Write the images of a split, their links and label maps, and the COCO files."""
    ade = ADE_NAMES[split]
    folders = [root / name for name in (split, f'images/{ade}', f'annotations/{ade}', f'annotations/panoptic_{split}')]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    size = tuple(parameters['size'])
    images: list[dict] = []
    annotations: list[dict] = []
    panoptic: list[dict] = []
    for index in range(parameters[split]):
        scene = _render_scene(index, split, parameters)
        name = f'{index:06d}'
        path = folders[0] / f'{name}.jpg'
        save_jpeg(path, scene.image)
        link_or_copy(path, folders[1] / path.name)
        Image.fromarray(scene.semantic + 1).save(folders[2] / f'{name}.png')
        images.append({'id': index + 1, 'file_name': path.name, 'height': size[0], 'width': size[1]})
        found = coco_annotations(scene, index + 1, len(annotations) + 1)
        annotations += found
        segments, ids = panoptic_segments(scene, found, background=len(CLASSES) + 1)
        Image.fromarray(ids).save(folders[3] / f'{name}.png')
        panoptic.append({'image_id': index + 1, 'file_name': f'{name}.png', 'segments_info': segments})
        counter.step()
    categories = [{'id': i + 1, 'name': name, 'supercategory': 'shape'} for i, name in enumerate(CLASSES)]
    info = {'description': 'Shapes, generated by mmhyena', 'version': str(VERSION)}
    coco = {'info': info, 'licenses': [], 'categories': categories, 'images': images, 'annotations': annotations}
    write_json(root / f'annotations/instances_{split}.json', coco)
    stuff = {'id': len(CLASSES) + 1, 'name': 'background', 'supercategory': 'background'}
    categories = [*({**thing, 'isthing': 1} for thing in categories), {**stuff, 'isthing': 0}]
    write_json(root / f'annotations/panoptic_{split}.json', {**coco, 'categories': categories, 'annotations': panoptic})


def _write_singles(root: Path, split: str, parameters: dict, counter: Counter) -> None:
    """Write the classification images of a split, classes in turn."""
    base = root / 'classification' / split
    for name in CLASSES:
        (base / name).mkdir(parents=True, exist_ok=True)
    for number in range(parameters[f'cls_{split}']):
        index, label = divmod(number, len(CLASSES))
        image = _render_single(index, label, split, parameters)
        save_jpeg(base / CLASSES[label] / f'{CLASSES[label]}_{index:06d}.jpg', image)
        counter.step()


def coco_annotations(scene: Scene, image_id: int, first_id: int) -> list[dict]:
    """COCO annotations of a scene: visible masks as RLE, tight boxes (x, y, width, height), areas in pixels."""
    from pycocotools import mask as mask_api

    annotations = []
    for number, (label, mask) in enumerate(zip(scene.labels, scene.masks, strict=True)):
        rle = mask_api.encode(np.asfortranarray(mask, dtype=np.uint8))
        annotations.append(
            {
                'id': first_id + number,
                'image_id': image_id,
                'category_id': int(label) + 1,
                'bbox': [float(v) for v in mask_api.toBbox(rle)],
                'area': int(mask_api.area(rle)),
                'iscrowd': 0,
                'segmentation': {'size': [int(v) for v in rle['size']], 'counts': rle['counts'].decode('ascii')},
            }
        )
    return annotations


def panoptic_segments(scene: Scene, instances: list[dict], background: int) -> tuple[list[dict], np.ndarray]:
    """COCO's panoptic annotation of a scene: every instance is a segment, and the rest is one more.

    Args:
        scene: What was drawn.
        instances: Its instances, as :func:`coco_annotations` gives them.
        background: Category of the rest.

    Returns:
        One entry per segment, and the map of segment ids as RGB (H, W, 3), uint8: id = R + 256 G + 65536 B.
    """
    rest = len(scene.masks) + 1
    ids = np.full(scene.image.shape[:2], rest)
    for number, mask in enumerate(scene.masks):
        ids[mask] = number + 1
    names = ('category_id', 'bbox', 'area', 'iscrowd')
    segments = [{'id': number + 1, **{name: entry[name] for name in names}} for number, entry in enumerate(instances)]
    rows, columns = np.nonzero(ids == rest)
    if len(rows):
        low, high = (columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)
        bbox = [float(v) for v in (*low, high[0] - low[0], high[1] - low[1])]
        segments.append({'id': rest, 'category_id': background, 'bbox': bbox, 'area': len(rows), 'iscrowd': 0})
    return segments, np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def save_jpeg(path: Path, image: np.ndarray) -> None:
    """Write RGB (H, W, 3), uint8, without the color subsampling that would smear small figures."""
    Image.fromarray(image).save(path, format='JPEG', quality=JPEG_QUALITY, subsampling=0)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link ``source`` as ``target``, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_json(path: Path, content: dict) -> None:
    """Write a (possibly large) annotation file, without indentation."""
    path.write_text(json.dumps(content) + '\n')
