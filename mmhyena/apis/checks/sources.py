"""The data sets that a config reads, built without samples, so that their own rules resolve paths and classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from mmhyena.apis.checks.nodes import children, find_class, leaves, short_name
from mmhyena.errors import UserError, one_line

__all__ = ['build_lazily', 'dataset_nodes', 'missing_path', 'with_masks']

_GENERATOR = 'tools/dataset_converters/shapes.py'


def dataset_nodes(cfg: Mapping[str, Any], split: str) -> Iterator[tuple[str, dict]]:
    """Yield the key and the config of every data set of a split, those inside wrappers and lists instead of these."""
    loader = cfg.get(f'{split}_dataloader')
    if isinstance(loader, dict) and loader.get('dataset') is not None:
        yield from _inner_nodes(f'{split}_dataloader.dataset', loader['dataset'])


def _inner_nodes(key: str, node: Any) -> Iterator[tuple[str, dict]]:
    if isinstance(node, (list, tuple)):
        for i, child in children(node):
            yield from _inner_nodes(f'{key}.{i}', child)
    elif isinstance(node, dict):
        inner = [name for name in ('dataset', 'datasets') if name in node]
        if not inner:
            yield key, node
        for name in inner:
            yield from _inner_nodes(f'{key}.{name}', node[name])


def missing_path(split: str, key: str, node: Mapping[str, Any]) -> str | None:
    """Return that the folder or the annotation file of a data set is not there, and how to get it."""
    root = node.get('data_root')
    if not isinstance(root, str) or '://' in root:
        return None
    annotation = node.get('ann_file')
    for path in (Path(root), Path(root, annotation if isinstance(annotation, str) else '')):
        if not path.exists():
            return f'{split} data {path} does not exist: {_remedy(root, key)}'
    return None


def _remedy(root: str, key: str) -> str:
    if 'shapes' in root and Path(root).name not in ('annotations',):
        out = root.rstrip('/').removesuffix('/classification')
        return f'generate it with python {_GENERATOR} --out {out}, or set {key}.data_root and {key}.ann_file'
    return f'put the data set there, or name its place with --cfg-options {key}.data_root=FOLDER'


def build_lazily(key: str, node: Mapping[str, Any]) -> Any | None:
    """Return a data set with its paths and classes, but without its samples, or None for a class that cannot do that.

    Raises:
        UserError: If it cannot be built.
    """
    type_ = node.get('type')
    if type_ is None:
        raise UserError(f'{key} has no type: set {key}.type to the name of a data set class')
    try:
        cls = find_class(DATASETS, type_)
        if cls is None:
            raise UserError(f'{key}.type: {type_!r} is no data set that is registered')
        if not _takes(cls, 'lazy_init'):
            return None
        return DATASETS.build({**node, 'lazy_init': True, 'pipeline': []})
    except UserError:
        raise
    except Exception as error:
        place = next((f'{key}.{name}' for name in node if name in str(error)), key)
        raise UserError(f'{place}: {one_line(error)}') from error


def _takes(cls: type, argument: str) -> bool:
    makers = [base.__dict__.get('__init__') for base in cls.__mro__[:-1]]
    return any(argument in inspect.signature(maker).parameters for maker in makers if maker is not None)


def with_masks(cfg: Mapping[str, Any], split: str, node: Mapping[str, Any]) -> bool:
    """Whether the masks of objects are loaded, or measured."""
    loads = any(
        isinstance(transform, dict)
        and short_name(transform.get('type', '')) == 'LoadAnnotations'
        and transform.get('with_mask')
        for transform in node.get('pipeline') or ()
    )
    evaluator = cfg.get(f'{split}_evaluator') if split != 'train' else None
    return bool(loads) or any(value == 'segm' for name, value in leaves(evaluator) if 'metric' in name)
