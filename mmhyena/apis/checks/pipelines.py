"""Pipelines of a runner's data sets, wrapped so that their errors name the file."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.runner import Runner

from mmhyena.apis.checks.sources import dataset_nodes
from mmhyena.errors import UserError

__all__ = ['check_broken_images', 'name_files', 'with_named_files']


def check_broken_images(value: Any) -> str:
    """Return the value of the config's ``broken_images``: what to do about training images that cannot be read.

    Raises:
        UserError: If it is neither 'raise' nor 'skip'.
    """
    if value not in ('raise', 'skip'):
        raise UserError(f"broken_images must be 'raise' or 'skip', got {value!r}")
    return value


def name_files(runner: Runner) -> None:
    """Wrap the pipelines of all data sets that a runner has still to build; its config stays as it is."""
    on_error = check_broken_images(runner.cfg.get('broken_images', 'raise'))
    for split in ('train', 'val', 'test'):
        loader = getattr(runner, f'_{split}_dataloader', None)
        if not isinstance(loader, dict):
            continue
        action = on_error if split == 'train' else 'raise'
        setattr(runner, f'_{split}_dataloader', with_named_files(loader, split, action))


def with_named_files(loader: dict[str, Any], split: str, on_error: str = 'raise') -> dict[str, Any]:
    """Return the config of a data loader whose pipelines name the file that they cannot read.

    Args:
        loader: Config of the loader, which stays as it is.
        split: 'train', 'val' or 'test'.
        on_error: 'raise' or 'skip'.
    """
    loader = copy.deepcopy(loader)
    for key, node in _readable({f'{split}_dataloader': loader}, split):
        wrapped = dict(
            type='mmhyena.ReadSample', transforms=node['pipeline'], on_error=on_error, name=f'{key}.pipeline'
        )
        node['pipeline'] = [wrapped]
    return loader


def _readable(cfg: dict[str, Any], split: str) -> Iterator[tuple[str, dict]]:
    return ((key, node) for key, node in dataset_nodes(cfg, split) if isinstance(node.get('pipeline'), (list, tuple)))
