"""Reading a config for a run: overrides from the command line, and what the machine at hand cannot do as written."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.config.utils import ConfigParsingError
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmhyena.errors import UserError

__all__ = ['adapt_to_device', 'check_data', 'default_work_dir', 'load_config', 'parse_overrides']

# Keys that configs of the three toolkits read besides the Runner's own arguments.
_EXTRA_KEYS = {'auto_scale_lr', 'tta_model', 'tta_pipeline', 'custom_imports', 'runner_type'}


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config file and merge ``overrides`` (dotted keys, as ``--cfg-options`` gives them) into it.

    Raises:
        UserError: If the file is missing or cannot be parsed, or an override names an unknown top-level key.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'config {path} does not exist{_did_you_mean(path)}')
    try:
        cfg = Config.fromfile(path)
    except (ConfigParsingError, SyntaxError, NameError, KeyError, TypeError, OSError) as error:
        raise UserError(f'config {path} cannot be read: {_one_line(error)}') from error
    if overrides:
        _check_override_keys(cfg, overrides)
        try:
            cfg.merge_from_dict(dict(overrides))
        except (KeyError, TypeError) as error:
            raise UserError(f'--cfg-options cannot be merged into {path}: {_one_line(error)}') from error
    return cfg


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` words as OpenMMLab's tools do: numbers, booleans, None, lists and tuples are recognised.

    Raises:
        UserError: For a word that is no such pair.
    """
    overrides = {}
    for word in words:
        key, equals, value = word.partition('=')
        if not key or not equals:
            raise UserError(f"--cfg-options {word}: expected key=value, without blanks around '='")
        overrides[key] = DictAction._parse_iterable(value)
    return overrides


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
    sync_bn = [node for node in _dicts(cfg.model) if node.get('type') == 'SyncBN']
    for node in sync_bn:
        node.type = 'BN'
    if sync_bn:
        _log(f'no accelerator: {len(sync_bn)} SyncBN settings became BN')
    cfg.setdefault('env_cfg', ConfigDict()).setdefault('dist_cfg', ConfigDict()).backend = 'gloo'


def check_data(cfg: Config, splits: tuple[str, ...]) -> None:
    """Check that the data which ``splits`` ('train', 'val', 'test') read is there, before a model is built.

    Raises:
        UserError: Naming the first folder or annotation file that is missing.
    """
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for dataset in _dicts(loader.dataset) if loader else ():
            root = dataset.get('data_root')
            if root is None or '://' in root:
                continue
            annotation = dataset.get('ann_file') or ''
            for path in (Path(root), Path(root) / annotation):
                if not path.exists():
                    raise UserError(f'{split} data {path} does not exist: {_data_remedy(root, split)}')


def _data_remedy(root: str, split: str) -> str:
    if 'shapes' in root:
        out = root.rstrip('/').removesuffix('/classification')
        return f'generate it with python tools/dataset_converters/shapes.py --out {out}'
    return f'put the data set there, or name its place with --cfg-options {split}_dataloader.dataset.data_root=FOLDER'


def _check_override_keys(cfg: Config, overrides: Mapping[str, Any]) -> None:
    known = set(cfg.keys()) | set(inspect.signature(Runner.__init__).parameters) | _EXTRA_KEYS
    for key in overrides:
        name = key.split('.')[0]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f": did you mean '{close[0]}'?" if close else ': no config of this kind reads it'
            raise UserError(f"--cfg-options {key}: unknown key '{name}'{hint}")


def _did_you_mean(path: Path) -> str:
    names = [file.name for file in path.parent.glob('*.py')] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f': did you mean {path.parent / close[0]}?' if close else ''


def _dicts(node: Any) -> Iterator[ConfigDict]:
    """Yield every dict inside a config value, itself included."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts(child)


def _one_line(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _log(message: str) -> None:
    print_log(message, logger='current', level=logging.INFO)
