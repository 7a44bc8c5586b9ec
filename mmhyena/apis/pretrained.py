"""Weights that a config starts from: looked for before a model is built, and compared with it when they are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmhyena.apis.checks.nodes import dicts
from mmhyena.checkpoints.sources import fetch
from mmhyena.errors import UserError

__all__ = ['check_pretrained', 'use_init_cfg']

_HOOK = 'mmhyena.OfficialCheckpointHook'


def check_pretrained(cfg: Config) -> None:
    """Check that every local file which ``init_cfg``, ``pretrained`` or ``load_from`` names is there.

    The config gets :class:`~mmhyena.engine.OfficialCheckpointHook`, unless it has it, so that a poor match of
    ``load_from`` or of a resumed checkpoint ends the run.

    Raises:
        UserError: Naming the first missing file and the key that changes it.
    """
    for key, file in _pretrained_files('model', cfg.model):
        _check(file, f'{key}=FILE, or start from scratch with {key.removesuffix(".checkpoint")}=None')
    # FSDP writes a folder with a file per process, which its strategy reads by our reader.
    is_sharded = (cfg.get('strategy') or {}).get('type') == 'FSDPStrategy' and Path(cfg.get('load_from') or '').is_dir()
    if not cfg.get('resume') and cfg.get('load_from') and not is_sharded:
        _check(cfg.load_from, 'load_from=FILE, or start from scratch with load_from=None')
    hooks = list(cfg.get('custom_hooks') or ())
    if not any(isinstance(hook, Mapping) and hook.get('type') == _HOOK for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=_HOOK)]


def use_init_cfg(cfg: Config) -> None:
    """Write weights that a toolkit would read in its own way as ``init_cfg``, in place, so that our reader reads them.

    These are ``checkpoint_path`` of a timm model, which timm reads, and ``pretrained`` of a segmentor, which
    MMSegmentation hands on to the backbone as an argument that ours do not have.
    """
    for _, node in dicts(cfg.get('model')):
        if 'model_name' in node and isinstance(node.get('checkpoint_path'), str) and node['checkpoint_path']:
            node['init_cfg'] = dict(type='Pretrained', checkpoint=node.pop('checkpoint_path'))
        backbone = node.get('backbone')
        if cfg.get('default_scope') != 'mmseg' or not isinstance(backbone, dict):
            continue
        if str(backbone.get('type')).startswith('mmhyena.') and isinstance(node.get('pretrained'), str):
            backbone['init_cfg'] = dict(type='Pretrained', checkpoint=node.pop('pretrained'))


def _check(file: str, override: str) -> None:
    if '://' in file:
        return
    if Path(file).expanduser().is_dir():
        fetch(file)  # says what the folder is
    if not Path(file).expanduser().is_file():
        raise UserError(
            f'pretrained weights {file} do not exist: put the official or converted checkpoint there '
            f'(see configs/hyenapixel/README.md), name another with --cfg-options {override}'
        )


def _pretrained_files(key: str, node: Any) -> Iterator[tuple[str, str]]:
    """Yield the dotted key of every checkpoint that ``init_cfg`` or ``pretrained`` names inside a config value."""
    if isinstance(node, Mapping):
        if node.get('type') == 'Pretrained' and node.get('checkpoint'):
            yield f'{key}.checkpoint', str(node['checkpoint'])
        if 'backbone' in node and isinstance(node.get('pretrained'), str):
            yield f'{key}.pretrained', node['pretrained']
        children: Iterable[tuple[Any, Any]] = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        return
    for name, child in children:
        yield from _pretrained_files(f'{key}.{name}', child)
