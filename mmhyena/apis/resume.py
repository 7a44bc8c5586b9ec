"""Where a run goes on, and what makes it able to: the parts of mmhyena.engine in place of MMEngine's."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.utils import digit_version

from mmhyena.checkpoints.reading import CheckpointError, read_checkpoint
from mmhyena.engine.atomic import describe_os_error
from mmhyena.engine.checkpoint_hook import POINTER
from mmhyena.engine.preemption_hook import PreemptionHook
from mmhyena.errors import UserError

__all__ = ['find_checkpoint', 'make_resumable', 'resume_from', 'run_training']

_LOOPS = {'EpochBasedTrainLoop': 'mmhyena.EpochTrainLoop', 'IterBasedTrainLoop': 'mmhyena.IterTrainLoop'}
_STATE = ('state_dict', 'optimizer', 'message_hub', 'meta')


def resume_from(cfg: Config, resume: str | None) -> dict[str, Any] | None:
    """Set up ``cfg`` to go on from a checkpoint, in place, and return what that holds.

    Args:
        cfg: Config of the run, with its ``work_dir``.
        resume: ``'auto'`` for the newest readable checkpoint of the work directory, a checkpoint file, or None for what
            the config says (``resume=True``, with or without ``load_from``).

    Returns:
        The checkpoint; None if the run starts anew, or if the checkpoint is a folder of shards.

    Raises:
        UserError: If the checkpoint cannot be resumed from, or the folder holds checkpoints of which none can.
    """
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    if resume is None:
        return None
    _check_versions()
    cfg.resume = False
    path: str | Path
    checkpoint: dict[str, Any] | None
    if resume != 'auto':
        path, checkpoint = resume, _read(resume, cfg)
    else:
        found = find_checkpoint(cfg)
        if found is None:
            _log(f'--resume: no checkpoint in {cfg.work_dir} yet: the run starts anew')
            return None
        path, checkpoint = found
    cfg.resume, cfg.load_from = True, str(path)
    randomness = cfg.get('randomness') or {}
    if checkpoint is not None and randomness.get('seed') is None:
        # The order of the data depends on the seed, before MMEngine reads it from the checkpoint.
        cfg.randomness = dict(randomness, seed=checkpoint['meta'].get('seed'))
    return checkpoint


def find_checkpoint(cfg: Config) -> tuple[Path, dict[str, Any] | None] | None:
    """Return the checkpoint that the work directory's pointer names, else the newest one that can be resumed from.

    Raises:
        UserError: If there are checkpoints, but none that can be resumed from.
    """
    pointer = Path(cfg.work_dir, POINTER)
    named = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    candidates = list(_candidates(cfg, named))
    trouble: list[str] = []
    for path in candidates:
        try:
            checkpoint = _read(path, cfg)
        except UserError as error:
            trouble.append(str(error))
            continue
        if trouble or not named or Path(named).name != path.name:
            reasons = '; '.join(trouble) or f'{pointer} {_pointer_state(pointer, named)}'
            _log(f'--resume: falls back to {path}: {reasons}', logging.WARNING)
        return path, checkpoint
    if trouble:
        raise UserError(
            f'--resume: none of {len(candidates)} checkpoints in {cfg.work_dir} can be resumed from ({trouble[0]}): '
            'name another one, or drop --resume to start anew'
        )
    return None


def make_resumable(cfg: Config) -> None:
    """Exchange MMEngine's training loop and checkpoint hook for those of mmhyena, and add its guards, in place.

    A loop or checkpoint hook of another kind is left as it is, with a warning that says what does not hold.
    """
    loop = cfg.train_cfg
    kind = loop.get('type', 'EpochBasedTrainLoop' if loop.get('by_epoch', True) else 'IterBasedTrainLoop')
    if kind in _LOOPS:
        loop.pop('by_epoch', None)
        loop.type = _LOOPS[kind]
    elif kind not in _LOOPS.values():
        _log(f'train_cfg.type {kind} is no loop of MMEngine: a resumed run may differ from an uninterrupted one')
    hooks = cfg.get('default_hooks') or {}
    saver = hooks.get('checkpoint', dict(type='CheckpointHook', interval=1))
    if saver is not None and saver.get('type') == 'CheckpointHook':
        saver = dict(saver, type='mmhyena.CheckpointHook')
    cfg.default_hooks = dict(hooks, checkpoint=saver)
    own = [hook.get('type') for hook in cfg.get('custom_hooks') or () if isinstance(hook, Mapping)]
    for name in ('mmhyena.FiniteLossHook', 'mmhyena.PreemptionHook'):
        if name not in own:
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), dict(type=name)]
    for split in ('train', 'val'):
        loader = cfg.get(f'{split}_dataloader')
        if loader and loader.get('num_workers', 0) > 0 and 'worker_init_fn' not in loader:
            loader.pop('disable_subprocess_warning', None)
            loader.worker_init_fn = dict(type='mmhyena.ignore_stop_signals')


def run_training(runner: Runner) -> None:
    """Train, and give the signals back however that ends.

    Raises:
        UserError: If a file cannot be written.
    """
    try:
        runner.train()
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        raise UserError(describe_os_error(error, error.filename or runner.work_dir)) from error
    finally:
        for hook in runner.hooks:
            if isinstance(hook, PreemptionHook):
                hook.close()


def _candidates(cfg: Config, named: str) -> Iterator[Path]:
    """Yield what the pointer names, also in a folder that was moved, then all checkpoints, the newest first."""
    folders = [Path(cfg.work_dir)]
    saver = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if saver.get('out_dir'):
        folders.append(Path(saver['out_dir'], Path(cfg.work_dir).name))
    seen = set()
    for path in [Path(named), *(folder / Path(named).name for folder in folders)] if named else []:
        if path.exists() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path
    # The best checkpoints by a metric hold no optimizer state: they are not resumed from.
    files = [file for folder in folders for file in folder.glob('*.pth') if not file.name.startswith(('.', 'best_'))]
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        if file.resolve() not in seen:
            yield file


def _read(path: str | Path, cfg: Config) -> dict[str, Any] | None:
    if Path(path).is_dir() and _reads_folders(cfg, Path(path)):
        return None
    checkpoint = read_checkpoint(path)
    missing = [key for key in _STATE if not isinstance(checkpoint.get(key), Mapping)]
    if missing or not {'epoch', 'iter'} <= set(checkpoint['meta']):
        what = ', '.join(missing) or 'epoch and iter in meta'
        raise CheckpointError(
            f'{path} cannot be resumed from, for it lacks {what}: start from its weights with '
            f'--cfg-options load_from={path}'
        )
    return checkpoint


def _reads_folders(cfg: Config, folder: Path) -> bool:
    """Whether the strategy reads this folder of shards itself.

    That of FSDP does so by our reader. DeepSpeed unpickles by itself, so it gets the folders of the run alone.
    """
    strategy = str((cfg.get('strategy') or {}).get('type'))
    is_own = Path(cfg.work_dir).resolve() in folder.resolve().parents
    return strategy == 'FSDPStrategy' or (strategy == 'DeepSpeedStrategy' and is_own)


def _pointer_state(pointer: Path, named: str) -> str:
    if named:
        return f'names {named}, which is not there'
    return 'is empty' if pointer.is_file() else 'is missing'


def _check_versions() -> None:
    # MMEngine 0.10.7 reads its own training state with torch.load's default, which torch 2.6 made weights-only.
    old_engine = digit_version(mmengine.__version__) <= digit_version('0.10.7')
    if old_engine and digit_version(torch.__version__) >= digit_version('2.6'):
        raise UserError(
            f'--resume: mmengine {mmengine.__version__} cannot resume with torch {torch.__version__}: '
            "use torch below 2.6, or pip install 'mmhyena[onedl]' in a new environment"
        )


def _log(message: str, level: int = logging.INFO) -> None:
    print_log(message, logger='current', level=level)
