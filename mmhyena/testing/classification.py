"""ImageNet, CIFAR, Tiny-ImageNet and CelebA in miniature: single figures under the names of the real sets."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from mmhyena.datasets.celeba import CELEBA_ATTRIBUTES
from mmhyena.datasets.shapes import CLASSES, SPLITS, render_single
from mmhyena.datasets.shapes.writer import save_jpeg
from mmhyena.testing.writer import Writer

IMAGENET_SIZE = (96, 128)
TINY_IMAGENET_SIZE = (64, 64)
TINY_IMAGENET_CLASSES = 200
CELEBA_SIZE = (218, 178)
CIFAR_SIZE = (32, 32)
CIFAR10_BATCHES = 5


def _images(writer: Writer, split: str, size: tuple[int, int]):
    for index in range(writer.num):
        yield render_single(index, index % len(CLASSES), seed=writer.seed, split=split, size=size)
        writer.counter.step()


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text('\n'.join(lines) + '\n')


def write_imagenet(writer: Writer, split: str) -> None:
    """Write class folders for the labels that occur, and ``meta/{split}.txt`` with labels out of 1000."""
    from mmpretrain.datasets.imagenet import ImageNet

    labels = writer.labels(split, len(ImageNet.METAINFO['classes']))
    lines = []
    for index, image in enumerate(_images(writer, split, IMAGENET_SIZE)):
        wnid = f'n{labels[index]:08d}'
        stem = f'{wnid}_{index}' if split == 'train' else f'ILSVRC2012_val_{index + 1:08d}'
        save_jpeg(writer.folder(split, wnid) / f'{stem}.JPEG', image)
        lines.append(f'{wnid}/{stem}.JPEG {labels[index]}')
    _write_lines(writer.folder('meta') / f'{split}.txt', lines)


def _pickle(path: Path, content: dict) -> None:
    # Protocol 2 is what the original files have.
    path.write_bytes(pickle.dumps(content, protocol=2))


def _cifar_rows(writer: Writer, split: str) -> np.ndarray:
    """Images as CIFAR stores them: (num, 3072), all red, then all green, then all blue."""
    return np.stack([image.transpose(2, 0, 1).ravel() for image in _images(writer, split, CIFAR_SIZE)])


def write_cifar10(writer: Writer, split: str) -> None:
    """Write the five training batches (some may be empty) or the test batch, and the meta file."""
    from mmpretrain.datasets.cifar import CIFAR10

    names = CIFAR10.METAINFO['classes']
    data, labels = _cifar_rows(writer, split), writer.labels(split, len(names))
    folder = writer.folder(CIFAR10.base_folder)
    files = [f'data_batch_{i + 1}' for i in range(CIFAR10_BATCHES)] if split == 'train' else ['test_batch']
    for file, rows in zip(files, np.array_split(np.arange(writer.num), len(files)), strict=True):
        content = {
            'batch_label': file,
            'labels': labels[rows].tolist(),
            'data': data[rows],
            'filenames': [f'{row:04d}.png' for row in rows],
        }
        _pickle(folder / file, content)
    _pickle(folder / CIFAR10.meta['filename'], {'num_vis': 3072, 'label_names': list(names)})


def write_cifar100(writer: Writer, split: str) -> None:
    """Write ``train`` or ``test`` with fine and coarse labels, and the meta file."""
    from mmpretrain.datasets.cifar import CIFAR100

    names = CIFAR100.METAINFO['classes']
    labels = writer.labels(split, len(names))
    folder = writer.folder(CIFAR100.base_folder)
    content = {
        'batch_label': split,
        'fine_labels': labels.tolist(),
        'coarse_labels': (labels // 5).tolist(),
        'data': _cifar_rows(writer, split),
        'filenames': [f'{row:04d}.png' for row in range(writer.num)],
    }
    _pickle(folder / ('train' if split == 'train' else 'test'), content)
    _pickle(folder / CIFAR100.meta['filename'], {'fine_label_names': list(names)})


def write_tiny_imagenet(writer: Writer, split: str) -> None:
    """Write the images of a split, 200 WordNet ids, and the box and label lists."""
    labels = writer.labels(split, TINY_IMAGENET_CLASSES)
    # Listed out of order, as in the original, so that a reader has to decide on one.
    wnids = [f'n{7 * i % TINY_IMAGENET_CLASSES:08d}' for i in range(TINY_IMAGENET_CLASSES)]
    _write_lines(writer.root / 'wnids.txt', wnids)
    _write_lines(writer.root / 'words.txt', [f'{wnid}\tfigure {wnid}' for wnid in sorted(wnids)])
    height, width = TINY_IMAGENET_SIZE
    box = f'0\t0\t{width - 1}\t{height - 1}'
    lines = []
    for index, image in enumerate(_images(writer, split, TINY_IMAGENET_SIZE)):
        wnid = f'n{labels[index]:08d}'
        if split == 'train':
            name = f'{wnid}_{index}.JPEG'
            save_jpeg(writer.folder('train', wnid, 'images') / name, image)
            _write_lines(writer.folder('train', wnid) / f'{wnid}_boxes.txt', [f'{name}\t{box}'])
        else:
            name = f'val_{index}.JPEG'
            save_jpeg(writer.folder('val', 'images') / name, image)
            lines.append(f'{name}\t{wnid}\t{box}')
    if split == 'val':
        _write_lines(writer.root / 'val' / 'val_annotations.txt', lines)


def write_celeba(writer: Writer, split: str) -> None:
    """Add a split to the lists; validation pictures serve as test pictures as well, the first face has no attribute."""
    attributes, partition = writer.root / 'list_attr_celeba.txt', writer.root / 'list_eval_partition.txt'
    rows = attributes.read_text().splitlines()[2:] if attributes.exists() else []
    parts = partition.read_text().splitlines() if partition.exists() else []
    rng = np.random.default_rng([writer.seed, SPLITS.index(split), len(CELEBA_ATTRIBUTES)])
    folder = writer.folder('img_align_celeba')
    for index, image in enumerate(_images(writer, split, CELEBA_SIZE)):
        present = rng.random(len(CELEBA_ATTRIBUTES)) < 0.3
        if index == 0:
            present[:] = False
        values = ' '.join(f'{v:2d}' for v in np.where(present, 1, -1))
        for number in (0,) if split == 'train' else (1, 2):
            name = f'{len(rows) + 1:06d}.jpg'
            save_jpeg(folder / name, image)
            rows.append(f'{name} {values}')
            parts.append(f'{name} {number}')
    _write_lines(attributes, [str(len(rows)), ' '.join(CELEBA_ATTRIBUTES), *rows])
    _write_lines(partition, parts)
