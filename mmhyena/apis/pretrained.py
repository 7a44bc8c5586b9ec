"""Weights that a config starts from: looked for before a model is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmhyena.errors import UserError

__all__ = ['check_pretrained']


def check_pretrained(cfg: Config) -> None:
    """Check that every local file which ``init_cfg`` or ``load_from`` names is there.

    Raises:
        UserError: Naming the first missing file and the key that changes it.
    """
    for key, file in _pretrained_files('model', cfg.model):
        _check(file, f'{key}.checkpoint=FILE, or start from scratch with {key}=None')
    if not cfg.get('resume') and cfg.get('load_from'):
        _check(cfg.load_from, 'load_from=FILE, or start from scratch with load_from=None')


def _check(file: str, override: str) -> None:
    if '://' not in file and not Path(file).is_file():
        raise UserError(
            f'pretrained weights {file} do not exist: put the official or converted checkpoint there '
            f'(see configs/hyenapixel/README.md), name another with --cfg-options {override}'
        )


def _pretrained_files(key: str, node: Any) -> Iterator[tuple[str, str]]:
    """Yield the dotted key of every ``init_cfg`` with a checkpoint inside a config value, and the checkpoint."""
    if isinstance(node, Mapping):
        if node.get('type') == 'Pretrained' and node.get('checkpoint'):
            yield key, str(node['checkpoint'])
        children = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        return
    for name, child in children:
        yield from _pretrained_files(f'{key}.{name}', child)
