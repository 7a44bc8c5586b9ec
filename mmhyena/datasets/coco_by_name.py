"""COCO files whose categories are numbered by the names of the classes, and their metric (needs mmdet)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric

from mmhyena.registry import DATASETS, METRICS

__all__ = ['CocoByName', 'CocoMetricByName']


def _ids_by_name(coco: COCO, names: Sequence[str]) -> list[int]:
    """Return the ids of the categories in the order of ``names``, of which a file may lack some."""
    ids = {category['name']: category_id for category_id, category in coco.cats.items()}
    return [ids[name] for name in names if name in ids]


class _NamedCOCO(COCO):
    def get_cat_ids(self, cat_names: Sequence[str] = (), sup_names: Any = (), cat_ids: Any = ()) -> list[int]:
        if cat_names and not sup_names and not cat_ids:
            return _ids_by_name(self, cat_names)
        return super().get_cat_ids(cat_names, sup_names, cat_ids)


@DATASETS.register_module()
class CocoByName(CocoDataset):
    """mmdet's ``CocoDataset`` with the labels of ``metainfo['classes']``.

    ``CocoDataset`` numbers the classes in the order in which the file lists its categories, so that a file which lists
    them otherwise than the training set's exchanges the classes. Arguments are those of ``CocoDataset``.
    """

    COCOAPI = _NamedCOCO


@METRICS.register_module()
class CocoMetricByName(CocoMetric):
    """mmdet's ``CocoMetric`` for labels of :class:`CocoByName`. Arguments are those of ``CocoMetric``.

    Results of each class (``classwise``) have the names that belong to them, whatever the order of the category ids;
    ``CocoMetric`` takes the order of the file, while pycocotools evaluates by ascending id.
    """

    cat_ids: list[int]

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict[str, str]:
        """Write predictions under the ids of the file's categories, and leave the ids in the order of pycocotools."""
        self.cat_ids = _ids_by_name(self._coco_api, self.dataset_meta['classes'])
        files = super().results2json(results, outfile_prefix)
        self.cat_ids = sorted(self.cat_ids)
        return files
