"""Reading a config for a run: overrides from the command line, and what the machine at hand cannot do as written."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from mmhyena.apis.checks.nodes import dicts
from mmhyena.apis.checks.values import check_optimizer, check_parts, check_top_level, check_values, known_keys
from mmhyena.apis.zero_label import set_zero_label
from mmhyena.compat.config_packages import register_config_packages
from mmhyena.errors import UserError, one_line
from mmhyena.utils.overrides import parse_overrides

__all__ = ['adapt_to_device', 'check_config', 'default_work_dir', 'load_config', 'parse_overrides']

_MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config and merge ``overrides`` (dotted keys, as ``--cfg-options`` gives them) into it.

    Args:
        path: A file, or ``package::path`` for a config of an installed package: mmhyena or a toolkit.
        overrides: Values by dotted keys.

    The top-level variable ``reduce_zero_label`` reaches all data sets and pipelines that have been made with it.

    Raises:
        UserError: If the file is missing or cannot be executed, a top-level key is misspelled, or an override names
            an unknown one.
    """
    register_config_packages()
    path = _installed_config(str(path)) if '::' in str(path) else Path(path)
    if not path.is_file():
        raise UserError(f'config {path} does not exist{_did_you_mean(path)}')
    if path.suffix not in _SUFFIXES:
        raise UserError(f'{path} is not a config: its name must end in {", ".join(_SUFFIXES)}')
    try:
        cfg = _read(path)
        check_top_level(cfg)  # imports what a config in MMEngine's lazy style names
    except UserError:
        raise
    except Exception as error:  # a config is a program, which may raise anything
        raise UserError(f'config {path} cannot be read: {one_line(error)}') from error
    if overrides:
        _check_override_keys(cfg, overrides)
        for key, value in overrides.items():
            try:
                cfg.merge_from_dict({key: value})
            except Exception as error:
                raise UserError(f'--cfg-options {key}={value} cannot be merged: {one_line(error)}') from error
        if any(key.split('.')[0] == 'custom_imports' for key in overrides):
            _import_modules(cfg)
    set_zero_label(cfg, overrides or {})
    return cfg


def _import_modules(cfg: Config) -> None:
    """Import what ``custom_imports`` names, which MMEngine does for those of the file alone."""
    try:
        import_modules_from_strings(**cfg.custom_imports)
    except Exception as error:  # an import executes anything
        raise UserError(f'--cfg-options custom_imports: {one_line(error)}') from error


def _read(path: Path) -> Config:
    try:
        return Config.fromfile(path)
    except UserError as error:  # about a base, or the copy that MMEngine reads
        raise UserError(f'config {path}: {error}') from error


def _installed_config(name: str) -> Path:
    """Return the file of ``package::path``."""
    try:
        return Path(Config._get_cfg_path(name, '')[0])
    except UserError:
        raise
    except Exception as error:  # MMEngine raises anything from AssertionError to FileNotFoundError
        raise UserError(f'config {name} cannot be found: {one_line(error)}') from error


def check_config(cfg: Config, splits: tuple[str, ...]) -> list[str]:
    """Check the parts and the values of a config, and adapt settings of data loaders with one sensible meaning.

    Args:
        cfg: The config, adapted in place: no persistent workers and nothing prefetched where there are no workers.
        splits: Which loops run: 'train', 'val', 'test'.

    Returns:
        What was adapted, one line each, to be logged.

    Raises:
        UserError: Naming the key of what is missing, of the wrong kind or out of range.
    """
    check_parts(cfg, splits)
    check_values(cfg)
    check_optimizer(cfg)
    notes = []
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None and name not in _MMENGINE_HOOKS]:
        hooks.pop(name)  # MMEngine takes None only for hooks that it has by itself
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, dict) and not loader.get('num_workers'):
            dropped = [key for key in ('persistent_workers', 'prefetch_factor') if loader.pop(key, None)]
            if dropped:
                notes.append(f'{split}_dataloader.num_workers is 0: {" and ".join(dropped)} dropped')
    return notes


def default_work_dir(cfg: Config) -> str:
    """Return ``work_dirs/<config name>``, OpenMMLab's place for a run that names none."""
    return str(Path('work_dirs') / Path(cfg.filename).stem)


def adapt_to_device(cfg: Config, amp: bool = False) -> None:
    """Switch on mixed precision if asked, and on a machine without an accelerator use what a CPU has, in place.

    On a CPU ``AmpOptimWrapper`` becomes ``mmhyena.CPUAmpOptimWrapper`` (bfloat16), SyncBN becomes BN, and the
    process group uses gloo. Each replacement is logged.

    Raises:
        UserError: If ``amp`` is asked of a config whose optimizer wrapper is neither plain nor AMP already.
    """
    if amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise UserError(f'--amp cannot replace the optimizer wrapper {wrapper} of {cfg.filename}: drop --amp')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if get_device() != 'cpu':
        return
    if cfg.get('optim_wrapper', {}).get('type') == 'AmpOptimWrapper':
        cfg.optim_wrapper.type = 'mmhyena.CPUAmpOptimWrapper'
        for key in ('loss_scale', 'dtype'):
            cfg.optim_wrapper.pop(key, None)
        _log('no accelerator: mixed precision runs in bfloat16 on the CPU')
    sync_bn = [node for _, node in dicts(cfg.model) if node.get('type') == 'SyncBN']
    for node in sync_bn:
        node['type'] = 'BN'
    if sync_bn:
        _log(f'no accelerator: {len(sync_bn)} SyncBN settings became BN')
    cfg.setdefault('env_cfg', ConfigDict()).setdefault('dist_cfg', ConfigDict()).backend = 'gloo'


def _check_override_keys(cfg: Config, overrides: Mapping[str, Any]) -> None:
    known = set(cfg.keys()) | known_keys()
    for key in overrides:
        name = key.split('.')[0]
        if name == 'launcher':
            raise UserError(f'--cfg-options {key} is not read: use --launcher')
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f": did you mean '{close[0]}'?" if close else ': no config of this kind reads it'
            raise UserError(f"--cfg-options {key}: unknown key '{name}'{hint}")


def _did_you_mean(path: Path) -> str:
    names = [file.name for file in path.parent.glob('*.py')] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f': did you mean {path.parent / close[0]}?' if close else ''


def _log(message: str) -> None:
    print_log(message, logger='current', level=logging.INFO)
