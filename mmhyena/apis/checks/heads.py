"""Numbers of classes of a model's heads against those of the data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import MODELS

from mmhyena.apis.checks.nodes import children, find_class, short_name
from mmhyena.apis.checks.report import first

__all__ = ['heads_error']

# Heads that tell objects from the background, or name things of other data, whatever the classes are.
_OTHER_CLASSES = {'rpn_head', 'semantic_head'}
# Heads whose number of classes is an argument called otherwise.
_PANOPTIC = ('num_things_classes', 'num_stuff_classes')
# Batch augmentation, which makes labels into scores for as many classes.
_EXTRA = ('data_preprocessor',)


def heads_error(
    cfg: Mapping[str, Any], classes: tuple[str, ...] | None, num_classes: int, metainfo: Mapping[str, Any], source: str
) -> str | None:
    """Return which head has another number of classes than the data, or None.

    Args:
        cfg: The config.
        classes: Names of the classes, where they are known.
        num_classes: How many there are.
        metainfo: Of the data set: panoptic ones have ``thing_classes`` and ``stuff_classes``.
        source: What to call the data.
    """
    things = tuple(metainfo.get('thing_classes') or ())
    names = f' ({first(classes)})' if classes else ''
    for key, argument, value in _heads(cfg.get('model'), 'model'):
        expected, of = num_classes, f'classes{names}'
        if argument == _PANOPTIC[0]:
            expected, of = (len(things), 'thing classes') if things else (num_classes, of)
        elif argument == _PANOPTIC[1]:
            expected, of = num_classes - (len(things) or num_classes), 'stuff classes'
        elif things and not key.endswith(('panoptic_head', 'decode_head')):
            expected, of = len(things), 'thing classes'
        if value != expected:
            return f'{key}.{argument} is {value}, but {source} has {expected} {of}: set {key}.{argument}={expected}'
    return _preprocessor_error(cfg, num_classes, names, source)


def _heads(node: Any, key: str) -> Iterator[tuple[str, str, Any]]:
    """Yield the key of every head, the argument that is a number of classes, and its value."""
    name = _role(key)
    if isinstance(node, dict) and 'type' in node and name.endswith('head') and key != 'model':
        panoptic = any(argument in node for argument in _PANOPTIC)
        if name in _OTHER_CLASSES and not panoptic:
            return
        for argument in _PANOPTIC if panoptic else ('num_classes',):
            value = node.get(argument, _default(node['type'], argument))
            if isinstance(value, int) and not isinstance(value, bool):
                yield key, argument, value
    for child_name, child in children(node):
        if child_name not in ('train_cfg', 'test_cfg', 'init_cfg', 'backbone', 'neck', 'data_preprocessor'):
            yield from _heads(child, f'{key}.{child_name}')


def _role(key: str) -> str:
    """Return the last part of a key that is not the number of an entry in a list."""
    return next((part for part in reversed(key.split('.')) if not part.isdigit()), '')


def _default(type_: Any, argument: str) -> Any:
    """Return the default of a constructor's argument, looked for in the classes that a class inherits from as well."""
    try:
        cls = find_class(MODELS, type_)
    except Exception:  # an unknown scope or a toolkit that is missing: building the model says which
        return None
    for base in getattr(cls, '__mro__', ()):
        parameter = inspect.signature(base.__init__).parameters.get(argument)
        if parameter is not None:
            return None if parameter.default is parameter.empty else parameter.default
    return None


def _preprocessor_error(cfg: Mapping[str, Any], num_classes: int, names: str, source: str) -> str | None:
    """Return whether mmpretrain's preprocessor makes scores for another number of classes."""
    model = cfg.get('model') or {}
    for key, node in (('model.data_preprocessor', model.get('data_preprocessor')), (_EXTRA[0], cfg.get(_EXTRA[0]))):
        if not isinstance(node, dict) or short_name(node.get('type', '')).startswith(('Det', 'Seg')):
            continue
        value = node.get('num_classes')
        if isinstance(value, int) and value != num_classes:
            name = f'{key}.num_classes'
            return f'{name} is {value}, but {source} has {num_classes} classes{names}: set {name}={num_classes}'
        if node is not None and model.get('data_preprocessor'):
            break  # it takes precedence over the top-level one
    return None
