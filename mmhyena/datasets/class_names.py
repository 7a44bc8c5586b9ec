"""Names of classes from where the data has them: for configs, whose numbers of classes then follow from the names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmhyena.errors import UserError

__all__ = ['read_classes']


def read_classes(source: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the classes in the order of their labels.

    Args:
        source: A COCO file ``*.json`` (its categories by ascending id), a text file ``*.txt`` (one name per line), a
            folder with one folder of images per class (in alphabetical order), or the names themselves.

    Raises:
        UserError: If ``source`` does not exist, cannot be read or names no class, or names one twice.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise UserError(f'classes cannot be read from {path}: it does not exist')
        names = _names(path)
    else:
        names = [str(name) for name in source]
    if not names:
        raise UserError(f'{source} names no class')
    if double := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f'{source} names the class {double!r} twice')
    return tuple(names)


def _names(path: Path) -> list[str]:
    if path.is_dir():
        return sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith('.'))
    if path.suffix == '.txt':
        lines = path.read_text(encoding='utf-8').splitlines()
        return [line.strip() for line in lines if line.strip()]
    if path.suffix != '.json':
        raise UserError(f'classes cannot be read from {path}: give a COCO file *.json, a list *.txt or a folder')
    try:
        categories = json.loads(path.read_text(encoding='utf-8'))['categories']
        return [str(category['name']) for category in sorted(categories, key=lambda category: category['id'])]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is not a COCO file with categories of an id and a name each') from error
