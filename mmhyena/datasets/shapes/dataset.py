"""The Shapes tree on disk: COCO, ADE20K and ImageNet formats at once, and its manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .figures import CLASSES
from .scene import SPLITS, Scene, render_scene, render_single

DEFAULT_CLS_SIZE = 64
MANIFEST = 'manifest.json'
VERSION = 1
"""Version of the pictures; raised whenever the same parameters would give other pixels or another tree."""

JPEG_QUALITY = 95
ADE_NAMES = {'train': 'training', 'val': 'validation'}
OWN_ENTRIES = (*SPLITS, 'images', 'annotations', 'classification')

Progress = Callable[[int, int], None]


class ShapesError(Exception):
    """The output folder cannot be used as asked; the message says which and what to do."""


def generate_shapes(
    out: str | os.PathLike,
    *,
    train: int = 600,
    val: int = 150,
    size: int | tuple[int, int] = 160,
    seed: int = 0,
    cls_train: int | None = None,
    cls_val: int | None = None,
    cls_size: int = DEFAULT_CLS_SIZE,
    force: bool = False,
    progress: Progress | None = None,
) -> bool:
    """Write the Shapes data set, or keep the one that is there if it is complete and has the same parameters.

    Args:
        out: Folder of the data set; created if missing.
        train: Number of training images for detection and segmentation.
        val: Number of validation images.
        size: Side of these images, or (height, width), pixels.
        seed: Seed; the same parameters give the same bytes.
        cls_train: Number of classification images to train on, ``train`` by default.
        cls_val: Number of classification images to validate on, ``val`` by default.
        cls_size: Side of the classification images, pixels.
        force: Replace a Shapes data set that has other parameters.
        progress: Called as ``progress(done, total)`` after every image.

    Returns:
        True if images were written, False if the data set was there already.

    Raises:
        ShapesError: ``out`` holds something else, or Shapes with other parameters and ``force`` is off.
        ValueError: a parameter is out of range.
        OSError: ``out`` cannot be written.
    """
    height, width = (size, size) if isinstance(size, int) else size
    parameters = {
        'train': train,
        'val': val,
        'size': [height, width],
        'seed': seed,
        'cls_train': train if cls_train is None else cls_train,
        'cls_val': val if cls_val is None else cls_val,
        'cls_size': cls_size,
    }
    for name in ('train', 'val', 'cls_train', 'cls_val', 'seed'):
        if parameters[name] < 0:
            raise ValueError(f'{name} is {parameters[name]}; it must not be negative')
    # Fails on a bad size before anything on disk is touched.
    render_scene(0, size=(height, width))
    render_single(0, 0, size=(cls_size, cls_size))

    root = Path(out)
    if not _make_room(root, parameters, force):
        return False
    manifest = {'dataset': 'shapes', 'version': VERSION, 'complete': False, 'parameters': parameters}
    _write_json(root / MANIFEST, manifest)
    counter = _Counter(progress, train + val + parameters['cls_train'] + parameters['cls_val'])
    files = {}
    for split in SPLITS:
        files[split] = _write_scenes(root, split, parameters, counter)
        files[f'classification/{split}'] = _write_singles(root, split, parameters, counter)
    _write_json(root / MANIFEST, dict(manifest, complete=True, files=files))
    return True


class _Counter:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _make_room(root: Path, parameters: dict, force: bool) -> bool:
    """Clear ``root`` for writing; False if it already holds what is wanted."""
    if root.exists() and not root.is_dir():
        raise ShapesError(f'{root} is a file; name a folder with --out')
    if not root.exists() or not any(root.iterdir()):
        root.mkdir(parents=True, exist_ok=True)
        return True
    manifest = _read_manifest(root)
    if manifest is None:
        raise ShapesError(f'{root} is not empty and holds no Shapes data set; name another folder with --out')
    same = manifest.get('parameters') == parameters and manifest.get('version') == VERSION
    if same and _is_complete(root, manifest):
        return False
    if not same and manifest.get('complete') and not force:
        raise ShapesError(
            f'{root} holds Shapes with other parameters ({_difference(manifest, parameters)}); '
            'replace it with --force or name another folder with --out'
        )
    for name in OWN_ENTRIES:
        if (root / name).exists():
            shutil.rmtree(root / name)
    return True


def _read_manifest(root: Path) -> dict | None:
    try:
        manifest = json.loads((root / MANIFEST).read_text())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get('dataset') == 'shapes' else None


def _is_complete(root: Path, manifest: dict) -> bool:
    if not manifest.get('complete'):
        return False
    expected = dict(manifest['files'])
    for split, ade in ADE_NAMES.items():
        expected[f'images/{ade}'] = expected[f'annotations/{ade}'] = expected[split]
        if not (root / f'annotations/instances_{split}.json').is_file():
            return False
    return all(sum(p.is_file() for p in (root / name).rglob('*')) == count for name, count in expected.items())


def _difference(manifest: dict, parameters: dict) -> str:
    if manifest.get('version') != VERSION:
        return f'version {manifest.get("version")} instead of {VERSION}'
    old = manifest.get('parameters', {})
    return ', '.join(f'{k} {old.get(k)} instead of {v}' for k, v in parameters.items() if old.get(k) != v)


def _write_scenes(root: Path, split: str, parameters: dict, counter: _Counter) -> int:
    """Write the images of a split, their links and label maps, and the COCO json; return the number of images."""
    ade = ADE_NAMES[split]
    folders = [root / name for name in (split, f'images/{ade}', f'annotations/{ade}')]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    size = tuple(parameters['size'])
    images, annotations = [], []
    for index in range(parameters[split]):
        scene = render_scene(index, seed=parameters['seed'], split=split, size=size)
        name = f'{index:06d}'
        path = folders[0] / f'{name}.jpg'
        save_jpeg(path, scene.image)
        link_or_copy(path, folders[1] / path.name)
        Image.fromarray(scene.semantic + 1).save(folders[2] / f'{name}.png')
        images.append({'id': index + 1, 'file_name': path.name, 'height': size[0], 'width': size[1]})
        annotations += coco_annotations(scene, index + 1, len(annotations) + 1)
        counter.step()
    categories = [{'id': i + 1, 'name': name, 'supercategory': 'shape'} for i, name in enumerate(CLASSES)]
    info = {'description': 'Shapes, generated by mmhyena', 'version': str(VERSION)}
    coco = {'info': info, 'licenses': [], 'categories': categories, 'images': images, 'annotations': annotations}
    _write_json(root / f'annotations/instances_{split}.json', coco)
    return parameters[split]


def _write_singles(root: Path, split: str, parameters: dict, counter: _Counter) -> int:
    """Write the classification images of a split, classes in turn; return their number."""
    base = root / 'classification' / split
    for name in CLASSES:
        (base / name).mkdir(parents=True, exist_ok=True)
    side = parameters['cls_size']
    for number in range(parameters[f'cls_{split}']):
        index, label = divmod(number, len(CLASSES))
        image = render_single(index, label, seed=parameters['seed'], split=split, size=(side, side))
        save_jpeg(base / CLASSES[label] / f'{index:06d}.jpg', image)
        counter.step()
    return parameters[f'cls_{split}']


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


def save_jpeg(path: Path, image: np.ndarray) -> None:
    """Write RGB (H, W, 3), uint8, without the colour subsampling that would smear small figures."""
    Image.fromarray(image).save(path, format='JPEG', quality=JPEG_QUALITY, subsampling=0)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link ``source`` as ``target``, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2 if path.name == MANIFEST else None) + '\n')
