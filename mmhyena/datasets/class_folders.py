"""Folders of images by class, numbered by the names of the classes (needs mmpretrain)."""

from __future__ import annotations

from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.custom import find_folders, get_samples

from mmhyena.registry import DATASETS

__all__ = ['ClassFolders']


@DATASETS.register_module()
class ClassFolders(CustomDataset):
    """mmpretrain's ``CustomDataset`` without an annotation file, numbered by ``metainfo['classes']``.

    ``CustomDataset`` numbers the folders that it finds in alphabetical order, so that a split which lacks one numbers
    the others differently.

    Args:
        **kwargs: Arguments of ``CustomDataset``; ``metainfo`` must have ``classes``, the names of the folders in the
            order of their labels.

    Raises:
        ValueError: If there are no classes, a folder is none of them, or there are no images.
    """

    def _find_samples(self) -> list[tuple[str, int]]:
        if self.CLASSES is None:
            raise ValueError('ClassFolders needs metainfo.classes')
        folders, _ = find_folders(self.img_prefix)
        stray = [folder for folder in folders if folder not in self.CLASSES]
        if stray:
            raise ValueError(f'class folder {stray[0]} in {self.img_prefix} is none of metainfo.classes')
        self.folder_to_idx = {folder: self.CLASSES.index(folder) for folder in folders}
        samples, _ = get_samples(self.img_prefix, self.folder_to_idx, is_valid_file=self.is_valid_file)
        if not samples:
            raise ValueError(f'no images ({", ".join(self.extensions)}) in the class folders of {self.img_prefix}')
        return samples
