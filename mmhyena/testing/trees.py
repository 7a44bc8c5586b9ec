"""Which trees there are, and how they are written, kept or refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmhyena.datasets.manifest import Counter, GeneratedFolder, Progress
from mmhyena.datasets.shapes import SPLITS, generate_shapes
from mmhyena.testing import classification, dense
from mmhyena.testing.writer import Writer

VERSION = 2


@dataclass(frozen=True)
class Tree:
    """One data set in miniature.

    Attributes:
        folder: Where OpenMMLab's base configs expect it below ``data``.
        entries: What it consists of.
        write: Writes one split; called for every split in turn.
    """

    folder: str
    entries: tuple[str, ...]
    write: Callable[[Writer, str], None]


TREES = {
    'coco': Tree('coco', ('annotations', 'train2017', 'val2017'), dense.write_coco),
    'ade20k': Tree('ade/ADEChallengeData2016', ('images', 'annotations'), dense.write_ade20k),
    'cityscapes': Tree('cityscapes', ('leftImg8bit', 'gtFine'), dense.write_cityscapes),
    'imagenet': Tree('imagenet', ('train', 'val', 'meta'), classification.write_imagenet),
    'cifar10': Tree('cifar10', ('cifar-10-batches-py',), classification.write_cifar10),
    'cifar100': Tree('cifar100', ('cifar-100-python',), classification.write_cifar100),
    'tiny_imagenet': Tree(
        'tiny-imagenet-200', ('train', 'val', 'wnids.txt', 'words.txt'), classification.write_tiny_imagenet
    ),
    'celeba': Tree(
        'celeba', ('img_align_celeba', 'list_attr_celeba.txt', 'list_eval_partition.txt'), classification.write_celeba
    ),
}


def write_tiny(
    out: str | os.PathLike,
    num: int = 4,
    *,
    size: tuple[int, int] = (96, 128),
    seed: int = 0,
    only: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Write the trees, or keep those that are complete and have the same parameters.

    Args:
        out: Folder that takes the place of ``data``.
        num: Images per split.
        size: Height and width of the images for detection and segmentation, pixels.
        seed: Seed of pictures and labels.
        only: Names from :data:`TREES` or ``'shapes'``; all by default.
        force: Replace generated trees that have other parameters.
        progress: Called as ``progress(done, total)`` after every image.

    Returns:
        Folder of each tree.

    Raises:
        ValueError: an unknown tree, or a parameter out of range.
        DatasetFolderError: a tree's folder holds something else.
        ImportError: the toolkit that knows a tree's classes is not installed.
    """
    names = list(only) if only else [*TREES, 'shapes']
    unknown = set(names) - {*TREES, 'shapes'}
    if unknown:
        raise ValueError(f'unknown tree {", ".join(sorted(unknown))}; choose from {", ".join([*TREES, "shapes"])}')
    if num < 1:
        raise ValueError(f'num is {num}; at least one image per split is needed')
    if seed < 0:
        raise ValueError(f'seed is {seed}; it must not be negative')
    counter = Counter(progress, len(names) * num * len(SPLITS))
    folders = {}
    for name in names:
        if name == 'shapes':
            folders[name] = Path(out, 'shapes')
            generate_shapes(folders[name], train=num, val=num, size=size, seed=seed, force=force)
            continue
        tree = TREES[name]
        parameters = {'num': num, 'size': list(size), 'seed': seed}
        folder = GeneratedFolder(Path(out, tree.folder), f'tiny {name}', VERSION, parameters, tree.entries)
        folders[name] = folder.root
        if folder.open(force):
            for split in SPLITS:
                tree.write(Writer(folder.root, num, size, seed, counter), split)
            folder.close()
    if progress is not None:
        progress(counter.total, counter.total)
    return folders
