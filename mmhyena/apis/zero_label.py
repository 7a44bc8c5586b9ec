"""One variable for what label 0 means in semantic segmentation, wherever a config reads label maps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmhyena.apis.checks.nodes import dicts, short_name
from mmhyena.apis.checks.sources import dataset_nodes
from mmhyena.errors import UserError

__all__ = ['ZERO_LABEL', 'set_zero_label']

ZERO_LABEL = 'reduce_zero_label'
"""Top-level variable: whether label 0 is ignored and the other labels are shifted down by one."""

_SPLITS = ('train', 'val', 'test')
_PARTS = (*(f'{split}_dataloader' for split in _SPLITS), 'tta_pipeline', 'train_pipeline', 'test_pipeline')
_ASSIGNED = re.compile(rf'^{ZERO_LABEL}\s*=', re.MULTILINE)
_SET_INSIDE = re.compile(rf'\b{ZERO_LABEL}[\'"]?\s*[=:]\s*(True|False)')


def set_zero_label(cfg: Config, overrides: Mapping[str, Any]) -> None:
    """Give ``reduce_zero_label`` of a config to all its data sets, and to the transforms that have it, in place.

    Python evaluates a config's variables file by file: what a derived config or ``--cfg-options`` assigns to the
    variable would not reach the data sets that the base config made with it. A config without the variable is left
    alone.

    Args:
        cfg: The config, with ``overrides`` merged.
        overrides: Those of the command line, by their dotted keys.

    Raises:
        UserError: If it is neither True nor False, or if a data set has been given another value than the variable.
    """
    value = cfg.get(ZERO_LABEL)
    if value is None:
        return
    if not isinstance(value, bool):
        raise UserError(f'{ZERO_LABEL} must be True or False, got {value!r}')
    others = [(key, node) for key, node in _readers(cfg) if node.get(ZERO_LABEL, value) != value]
    remedy = f'set --cfg-options {ZERO_LABEL}={not value}, which reaches all data sets'
    for key in overrides:
        if key.endswith(f'.{ZERO_LABEL}') and any(key == f'{place}.{ZERO_LABEL}' for place, _ in others):
            raise UserError(f'--cfg-options {key}={overrides[key]}, but {ZERO_LABEL} is {value}: {remedy}')
    if others and ZERO_LABEL not in overrides and _set_inside_later(cfg.text):
        raise UserError(
            f'{others[0][0]}.{ZERO_LABEL} is {not value}, but the variable {ZERO_LABEL} is {value}: {remedy}'
        )
    for _, node in _readers(cfg):
        node[ZERO_LABEL] = value


def _readers(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Yield the data sets of segmentation, and the transforms that have the variable among their arguments."""
    if cfg.get('default_scope') != 'mmseg':
        return
    for split in _SPLITS:
        yield from dataset_nodes(cfg, split)
    for part in _PARTS:
        for key, node in dicts(cfg.get(part), part):
            if ZERO_LABEL in node and short_name(node.get('type')) == 'LoadAnnotations':
                yield key, node


def _set_inside_later(text: str) -> bool:
    """Whether a config file gives a value to a data set after the variable was assigned for the last time.

    Args:
        text: The files of a config, those that it inherits from first.
    """
    text = re.sub('#.*', '', text)
    assigned = [match.end() for match in _ASSIGNED.finditer(text)]
    return bool(assigned) and any(
        match.start() > assigned[-1] and not _ASSIGNED.match(text, match.start())
        for match in _SET_INSIDE.finditer(text)
    )
