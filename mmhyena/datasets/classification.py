"""Classification data sets that mmpretrain lacks, or reads only after a download (needs mmpretrain)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.fileio import exists, join_path, list_from_file
from mmpretrain import datasets as stock
from mmpretrain.datasets import BaseDataset

from mmhyena.datasets.celeba import CELEBA_ATTRIBUTES
from mmhyena.registry import DATASETS

_MixinBase: Any = stock.CIFAR10 if TYPE_CHECKING else object


def _read_lines(path: str, dataset: str, remedy: str) -> list[str]:
    if not exists(path):
        raise FileNotFoundError(f'{dataset}: {path} is missing; {remedy}')
    return [line for line in list_from_file(path) if line.strip()]


@DATASETS.register_module()
class CelebA(BaseDataset):
    """CelebA with its 40 binary attributes, for multi-label classification (Liu et al., ICCV 2015).

    The folder is the one torchvision also reads::

        data/celeba
        |-- img_align_celeba/000001.jpg ...
        |-- list_attr_celeba.txt            number of images, names of attributes, then one row of -1 / 1 per image
        `-- list_eval_partition.txt         0, 1 or 2 (train, val, test) per image

    A sample has ``gt_label``, the indices of the attributes that are present (possibly none), and ``gt_score``, all 40
    as 0 or 1, which is what mmpretrain's ``MultiLabelClsHead`` and multi-label metrics use.

    Args:
        data_root: Folder of the data set.
        split: ``'train'``, ``'val'`` or ``'test'``.
        data_prefix: Folder of the images in ``data_root``.
        ann_file: Attribute list in ``data_root``.
        partition_file: List of splits in ``data_root``.
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: unknown split, or a malformed list; the message names file and line.
        FileNotFoundError: a list is missing.
    """

    METAINFO = {'classes': CELEBA_ATTRIBUTES}
    SPLITS = {'train': '0', 'val': '1', 'test': '2'}

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        data_prefix: str = 'img_align_celeba',
        ann_file: str = 'list_attr_celeba.txt',
        partition_file: str = 'list_eval_partition.txt',
        **kwargs,
    ) -> None:
        if split not in self.SPLITS:
            raise ValueError(f"CelebA: split is '{split}'; it must be one of {', '.join(self.SPLITS)}")
        self.split = split
        self.partition_file = join_path(data_root, partition_file)
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read both lists and keep the images of the split."""
        remedy = 'see the class docstring for the layout of the folder'
        partition = dict(line.split() for line in _read_lines(self.partition_file, 'CelebA', remedy))
        lines = _read_lines(self.ann_file, 'CelebA', remedy)
        if len(lines) < 2 or tuple(lines[1].split()) != self.METAINFO['classes']:
            raise ValueError(f'CelebA: line 2 of {self.ann_file} does not name the 40 attributes in their order')
        data_list = []
        for number, line in enumerate(lines[2:], start=3):
            name, *values = line.split()
            if name not in partition:
                raise ValueError(f'CelebA: {name} (line {number} of {self.ann_file}) is not in {self.partition_file}')
            if len(values) != len(self.METAINFO['classes']) or not set(values) <= {'-1', '1'}:
                raise ValueError(f'CelebA: line {number} of {self.ann_file} has not 40 values of -1 or 1')
            if partition[name] != self.SPLITS[self.split]:
                continue
            present = np.array(values) == '1'
            data_list.append(
                {
                    'img_path': join_path(self.img_prefix, name),
                    'gt_label': np.flatnonzero(present),
                    'gt_score': present.astype(np.float32),
                }
            )
        return data_list

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the indices of the attributes that image ``idx`` has."""
        return self.get_data_info(idx)['gt_label'].tolist()


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """Tiny-ImageNet-200 in its published layout, whose validation images lie in one folder with a list of labels.

    ::

        data/tiny-imagenet-200
        |-- wnids.txt                              200 WordNet ids
        |-- words.txt                              WordNet id, tab, names
        |-- train/<wnid>/images/<wnid>_0.JPEG ...
        `-- val
            |-- images/val_0.JPEG ...
            `-- val_annotations.txt                file, tab, WordNet id, tab, box

    Labels follow the sorted WordNet ids, as folder-based readers number them. The test images have no public labels.

    Args:
        data_root: Folder of the data set.
        split: ``'train'`` or ``'val'``.
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: unknown split, or a WordNet id that ``wnids.txt`` does not list.
        FileNotFoundError: a list, or every training image, is missing.
    """

    IMG_EXTENSIONS = ('.jpeg', '.jpg', '.png')
    SPLITS = ('train', 'val')

    def __init__(self, data_root: str = '', split: str = 'train', **kwargs) -> None:
        if split not in self.SPLITS:
            raise ValueError(f"TinyImageNet: split is '{split}'; it must be one of {', '.join(self.SPLITS)}")
        self.split = split
        super().__init__(ann_file='', data_root=data_root, data_prefix=split, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images of the split with their labels."""
        wnids = sorted(line.strip() for line in self._lines(join_path(self.data_root, 'wnids.txt')))
        names = dict(line.split('\t', 1) for line in self._lines(join_path(self.data_root, 'words.txt')))
        self._metainfo.setdefault('classes', tuple(names.get(wnid, wnid) for wnid in wnids))
        index = {wnid: i for i, wnid in enumerate(wnids)}
        pairs = self._train_pairs(wnids) if self.split == 'train' else self._val_pairs()
        unknown = sorted({wnid for _, wnid in pairs} - index.keys())
        if unknown:
            raise ValueError(f'TinyImageNet: wnids.txt in {self.data_root} does not list {", ".join(unknown)}')
        return [{'img_path': path, 'gt_label': index[wnid]} for path, wnid in pairs]

    def _lines(self, path: str) -> list[str]:
        return _read_lines(path, 'TinyImageNet', 'unpack tiny-imagenet-200.zip and set data_root to its folder')

    def _train_pairs(self, wnids: Sequence[str]) -> list[tuple[str, str]]:
        base = Path(self.img_prefix)
        found = [
            (str(path), wnid)
            for wnid in wnids
            for path in sorted((base / wnid / 'images').glob('*'))
            if path.suffix.lower() in self.IMG_EXTENSIONS
        ]
        if not found:
            raise FileNotFoundError(f'TinyImageNet: no images in {base}/<wnid>/images')
        return found

    def _val_pairs(self) -> list[tuple[str, str]]:
        rows = (line.split('\t') for line in self._lines(join_path(self.img_prefix, 'val_annotations.txt')))
        return [(join_path(self.img_prefix, 'images', row[0]), row[1]) for row in rows]


class _LocalCIFAR(_MixinBase):
    """CIFAR as it lies on disk: no download, and no checksum that only the original files could pass."""

    def __init__(self, data_root: str = '', split: str = 'train', **kwargs) -> None:
        super().__init__(data_root=data_root, split=split, download=False, **kwargs)

    def _check_integrity(self) -> bool:
        for name, _ in (*self.train_list, *self.test_list):
            path = join_path(self.data_prefix['root'], self.base_folder, name)
            if not exists(path):
                raise FileNotFoundError(
                    f'{type(self).__name__}: {path} is missing; unpack {self.filename} from {self.url} in data_root'
                )
        return True


@DATASETS.register_module()
class CIFAR10(_LocalCIFAR, stock.CIFAR10):
    """mmpretrain's CIFAR-10, read from ``data_root/cifar-10-batches-py`` only.

    mmpretrain's own class starts a download when a checksum differs; this one takes any files in CIFAR's format, so a
    generated or filtered copy works too, and a missing file is an error at once.

    Args:
        data_root: Folder that holds ``cifar-10-batches-py``.
        split: ``'train'`` or ``'test'``.
        **kwargs: Other arguments of mmpretrain's ``CIFAR10``, but ``download``.
    """


@DATASETS.register_module()
class CIFAR100(_LocalCIFAR, stock.CIFAR100):
    """mmpretrain's CIFAR-100, read from ``data_root/cifar-100-python`` only; see :class:`CIFAR10`."""
