"""COCO files of validation and test sets that list their categories in an order of their own."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, Registry

from mmhyena.apis.checks.nodes import dicts, find_class
from mmhyena.apis.checks.report import SplitReport, first
from mmhyena.apis.checks.sources import dataset_nodes

__all__ = ['number_by_name']


def number_by_name(cfg: Config, report: SplitReport, node: dict[str, Any]) -> None:
    """Have the data set and the metric of a split number categories by the names of the classes, in place.

    A training set keeps the order of its file, by which checkpoints of mmdet are numbered, so that classes in another
    order are a problem there; likewise with a data set or a metric of another class than mmdet's own.
    """
    if report.split == 'train':
        if report.order_error:
            report.problem(report.order_error)
        return
    name = f'{report.split}_evaluator'
    metrics = [metric for _, metric in dicts({name: cfg.get(name)}) if 'type' in metric]
    alone = len(list(dataset_nodes(cfg, report.split))) == 1
    if not alone or not all(
        _is_own(registry, entry, 'mmdet.', kind)
        for registry, entry, kind in [(DATASETS, node, 'CocoDataset'), *((METRICS, m, 'CocoMetric') for m in metrics)]
    ):
        if report.order_error:
            report.problem(report.order_error)
        return
    node['type'] = 'mmhyena.CocoByName'
    for metric in metrics:
        metric['type'] = 'mmhyena.CocoMetricByName'
    if report.order_error:
        report.notes.append(
            f'{report.split}: {report.source} lists its categories in another order than '
            f'{first(report.classes or ())}; they are numbered by name'
        )


def _is_own(registry: Registry, node: dict[str, Any], module: str, name: str) -> bool:
    """Whether a config entry builds the class of that name which a toolkit defines, not one derived from it."""
    found = find_class(registry, node['type'])
    return getattr(found, '__name__', '') == name and found.__module__.startswith(module)
