"""MMEngine's checkpoint hook, made safe against kills, full disks and diverged weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook as BaseCheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mmhyena.engine.atomic import TEMPORARY, describe_os_error, publish, remove, write_text
from mmhyena.errors import UserError
from mmhyena.registry import HOOKS

__all__ = ['INTERRUPTED', 'POINTER', 'CheckpointHook', 'TrainingDivergedError']

INTERRUPTED = 'interrupted.pth'
"""Checkpoint of a run that was asked to stop; the next regular checkpoint supersedes it."""
POINTER = 'last_checkpoint'
"""File in the work directory that names the latest checkpoint, as in MMEngine."""


class TrainingDivergedError(UserError):
    """A loss or weights that are not finite. The message is one line that names the last good checkpoint."""


@HOOKS.register_module()
class CheckpointHook(BaseCheckpointHook):
    """:class:`mmengine.hooks.CheckpointHook` that never leaves less on the disk than there was before.

    A checkpoint and the file that points to it are written under another name, synchronized, and moved into place.
    What they supersede (``max_keep_ckpts``, the previous best) is deleted afterwards. Weights or optimizer states that
    are not finite are not written: the run ends with :class:`TrainingDivergedError`. Arguments are those of MMEngine.
    """

    file_backend: Any
    last_ckpt: str | None
    _saved: tuple[int, int] | None = None  # (epoch, iteration) of the last checkpoint
    _meta: dict[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Delete what a killed run left half-written."""
        super().before_train(runner)
        if self._is_local() and is_main_process():
            for leftover in [*Path(self.out_dir).glob(TEMPORARY.format('*')), *_pointer_leftovers(runner)]:
                remove(leftover)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Keep the best checkpoint.

        Raises:
            UserError: If ``save_best`` names no metric of the evaluation.
        """
        for name in self.key_indicators if self.save_best and metrics else ():
            if name != 'auto' and name not in metrics:
                raise UserError(f'checkpoint hook: save_best={name!r} is no metric: use one of {", ".join(metrics)}')
        super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that are not finite. Runs after all other hooks, hence on what is going to be written."""
        if self._meta is not None:
            checkpoint['meta'].update(self._meta)
        bad = list(_not_finite(runner, checkpoint))
        if bad:
            position = f'epoch {checkpoint["meta"]["epoch"]}, iteration {checkpoint["meta"]["iter"]}'
            raise TrainingDivergedError(
                f'{position}: {len(bad)} tensors are not finite ({", ".join(bad[:3])}{", ..." if bad[3:] else ""}), so '
                f'no checkpoint is written: lower the learning rate or check the data; {self.describe_last(runner)}'
            )

    def save_interrupted(self, runner: Runner, epoch: int, iteration: int) -> None:
        """Write a checkpoint at a position at which none is due, unless there is one already."""
        if self._saved == (epoch, iteration) and self.save_optimizer:
            return
        self.last_ckpt = self.file_backend.join_path(self.out_dir, INTERRUPTED)
        self._write(runner, INTERRUPTED, meta=dict(epoch=epoch, iter=iteration), by_epoch=False)
        self._point(runner)

    def describe_last(self, runner: Runner) -> str:
        """Return where the last good checkpoint is, in words."""
        last = runner.message_hub.get_info('last_good_ckpt')
        return f'the last good checkpoint is {last}' if last else 'there is no earlier checkpoint'

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        outdated = self._keep(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        options = dict(save_optimizer=self.save_optimizer, save_param_scheduler=self.save_param_scheduler)
        self._write(runner, name, meta=meta, by_epoch=self.by_epoch, **options, **self.args)
        self._saved = meta['epoch'], meta['iter']
        self._point(runner)
        if is_main_process():
            for path in outdated:
                _remove_with(self.file_backend, path)

    def _keep(self, runner: Runner, step: int) -> list[str]:
        """Note ``step`` as kept, and return the checkpoints that it supersedes."""
        outdated = [self.file_backend.join_path(self.out_dir, INTERRUPTED)]
        if self.max_keep_ckpts > 0:
            kept = [old for old in self.keep_ckpt_ids if old != step] + [step]
            for old in kept[: -self.max_keep_ckpts]:
                outdated.append(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)))
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts :])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return outdated

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        backend = self.file_backend
        self.file_backend = later = _LaterRemoval(backend)
        try:
            super()._save_best_checkpoint(_AtomicSaves(runner, self), metrics)
        finally:
            self.file_backend = backend
        later.finish()

    def _write(self, runner: Any, name: str, **options: Any) -> None:
        """Write a checkpoint through the runner, under a temporary name where that can be renamed."""
        runner = runner.runner if isinstance(runner, _AtomicSaves) else runner
        common = dict(file_client_args=self.file_client_args, backend_args=self.backend_args)
        self._meta = options.get('meta')
        try:
            if not self._is_local():  # object stores write a whole object or none
                runner.save_checkpoint(self.out_dir, name, **common, **options)
                return
            temporary, final = Path(self.out_dir, TEMPORARY.format(name)), Path(self.out_dir, name)
            try:
                runner.save_checkpoint(self.out_dir, temporary.name, **common, **options)
                barrier()  # strategies with shards write a folder together
                if is_main_process():
                    publish(temporary, final)
            except OSError as error:
                raise UserError(f'{describe_os_error(error, final)}; {self.describe_last(runner)}') from error
            finally:
                if is_main_process():
                    remove(temporary)
        finally:
            self._meta = None
        if isinstance(self.file_backend, _LaterRemoval):
            self.file_backend.written.add(str(final))

    def _point(self, runner: Any) -> None:
        if self.last_ckpt is None:
            return
        runner.message_hub.update_info('last_good_ckpt', self.last_ckpt)
        if is_main_process():
            write_text(Path(runner.work_dir, POINTER), self.last_ckpt)

    def _is_local(self) -> bool:
        return '://' not in str(self.out_dir)


class _AtomicSaves:
    """A runner whose checkpoints are written by the hook."""

    def __init__(self, runner: Runner, hook: CheckpointHook) -> None:
        self.runner, self.hook = runner, hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    def save_checkpoint(self, out_dir: str, filename: str, **options: Any) -> None:
        """Write the checkpoint atomically."""
        options = {key: value for key, value in options.items() if key not in ('file_client_args', 'backend_args')}
        self.hook._write(self.runner, filename, **options)


class _LaterRemoval:
    """A file backend that notes what is to be removed, for when its successor has been written."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.paths: list[str] = []
        self.written: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Note ``path``, a file or a folder."""
        self.paths.append(str(path))

    rmtree = remove

    def finish(self) -> None:
        """Remove what was noted and has not been written again."""
        for path in self.paths:
            if path not in self.written:
                _remove_with(self.backend, path)


def _remove_with(backend: Any, path: str) -> None:
    if backend.isfile(path):
        backend.remove(path)
    elif backend.isdir(path):
        backend.rmtree(path)


def _pointer_leftovers(runner: Runner) -> Iterator[Path]:
    return Path(runner.work_dir).glob(TEMPORARY.format(POINTER))


def _not_finite(runner: Runner, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Name the tensors of weights and optimizer that hold NaN, or infinity where that cannot be meant."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    parameters = {name for name, _ in model.named_parameters()}
    for part in ('state_dict', 'ema_state_dict'):
        for name, tensor in checkpoint.get(part, {}).items():
            # A buffer may hold infinities on purpose, as masks of attention do.
            learned = name.removeprefix('module.') in parameters
            if _is_float(tensor) and not (_all_finite(tensor) if learned else not tensor.isnan().any()):
                yield name
    states = checkpoint.get('optimizer', {}).get('state', {})
    for index, state in states.items():
        for key, tensor in state.items():
            if _is_float(tensor) and not _all_finite(tensor):
                yield f'optimizer state {key} of parameter {index}'


def _is_float(tensor: Any) -> bool:
    return isinstance(tensor, Tensor) and (tensor.is_floating_point() or tensor.is_complex())


def _all_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
