"""MMEngine's training loops, made to go on exactly where a checkpoint was written.

Each iteration starts from generators seeded by (run seed, process, iteration), and each sample from its own place
(:mod:`mmhyena.engine.placed_data`). Nothing random is carried from one iteration to the next, so nothing has to be
saved but the position, and what happens in between (a validation, a restart) changes no number.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Sized
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmhyena.engine.placed_data import STEP, PlacedBatchSampler, placed_loader, seed_from
from mmhyena.engine.schedules import follow_schedule
from mmhyena.registry import LOOPS

__all__ = ['EpochTrainLoop', 'IterTrainLoop']

# Keys of MMEngine's message hub, which every checkpoint carries.
VALIDATED, EPOCH_LENGTH = 'last_validated_iter', 'iters_per_epoch'


@LOOPS.register_module()
class EpochTrainLoop(EpochBasedTrainLoop):
    """:class:`mmengine.runner.EpochBasedTrainLoop` that resumes within an epoch. Arguments are those of MMEngine."""

    _iter: int

    def __init__(self, runner: Runner, dataloader: dict | DataLoader, *args: Any, **kwargs: Any) -> None:
        loader = placed_loader(runner, dataloader)
        _drop_single_sample(runner, loader)
        super().__init__(runner, loader, *args, **kwargs)

    def run(self) -> nn.Module:
        """Train, and first validate the checkpoint that the run goes on from if that is still to be done."""
        self._fit_position()
        if self._iter > 0:
            follow_schedule(self.runner, self._iter, self._epoch, len(self.dataloader))
        self.runner.call_hook('before_train')
        if self._iter == self._epoch * len(self.dataloader) and not _is_validated(self):
            self._decide_current_val_interval()
            self._validate_if_due()
        if self._epoch >= self._max_epochs:
            _say_finished(self.runner, f'epoch {self._epoch} of {self._max_epochs}', 'max_epochs')
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train on the batches of the epoch that are left."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iter - self._epoch * len(self.dataloader)
        if first < len(self.dataloader):
            if isinstance(self.dataloader.batch_sampler, PlacedBatchSampler):
                self.dataloader.batch_sampler.begin(self._epoch, first)
            for number, data_batch in enumerate(self.dataloader, first):
                self.run_iter(number, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Train one iteration from its own random state."""
        seed_from(STEP, self.runner.seed, get_rank(), self._iter)
        super().run_iter(idx, data_batch)

    def _validate_if_due(self) -> None:
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if due and self._epoch >= self.val_begin:
            _validate(self)

    def _fit_position(self) -> None:
        """Go back to the start of the epoch if a resumed run has epochs of another length."""
        length, hub = len(self.dataloader), self.runner.message_hub
        before = hub.get_info(EPOCH_LENGTH, length)
        hub.update_info(EPOCH_LENGTH, length)
        if before == length and 0 <= self._iter - self._epoch * length <= length:
            return
        self.runner.logger.warning(
            f'an epoch had {before} iterations in the checkpoint and has {length} now (another batch size, number of '
            f'processes or data set): the run goes on at the start of epoch {self._epoch + 1}'
        )
        self._iter = self._epoch * length


@LOOPS.register_module()
class IterTrainLoop(IterBasedTrainLoop):
    """:class:`mmengine.runner.IterBasedTrainLoop` that resumes exactly. Arguments are those of MMEngine."""

    _iter: int

    def __init__(self, runner: Runner, dataloader: dict | DataLoader, *args: Any, **kwargs: Any) -> None:
        loader = placed_loader(runner, dataloader)
        _drop_single_sample(runner, loader)
        if isinstance(loader.batch_sampler, PlacedBatchSampler):
            with loader.batch_sampler.paused():
                super().__init__(runner, loader, *args, **kwargs)
        else:
            super().__init__(runner, loader, *args, **kwargs)

    def run(self) -> nn.Module:
        """Train, and first validate the checkpoint that the run goes on from if that is still to be done."""
        if self._iter > 0:
            follow_schedule(self.runner, self._iter, 0, self._max_iters)
        self.runner.call_hook('before_train')
        if not _is_validated(self):
            self._decide_current_val_interval()
            self._validate_if_due()
        if self._iter >= self._max_iters:
            _say_finished(self.runner, f'iteration {self._iter} of {self._max_iters}', 'max_iters')
        else:
            self._run_iterations()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Sequence[dict]) -> None:
        """Train one iteration from its own random state."""
        seed_from(STEP, self.runner.seed, get_rank(), self._iter)
        super().run_iter(data_batch)

    def _run_iterations(self) -> None:
        self.runner.call_hook('before_train_epoch')
        batches = self._batches()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')

    def _batches(self) -> Iterator[Sequence[dict]]:
        """Yield batches without end, the first being that of the present iteration."""
        sampler = self.dataloader.batch_sampler
        if not isinstance(sampler, PlacedBatchSampler):
            while True:
                yield next(self.dataloader_iterator)
        sampler.begin(0, self._iter)
        while True:
            yield from self.dataloader
            sampler.begin(sampler.epoch + 1)

    def _validate_if_due(self) -> None:
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if due and self._iter >= self.val_begin:
            _validate(self)


def _drop_single_sample(runner: Runner, loader: DataLoader) -> None:
    """Drop the last batch of a pass if it has one sample, over which batch normalization cannot or should not go."""
    batches = getattr(loader.batch_sampler, 'batch_sampler', None)
    size = getattr(batches, 'batch_size', None)
    if getattr(batches, 'drop_last', None) is not False or not isinstance(size, int) or size < 2:
        return
    sampler = getattr(batches, 'sampler', None)
    if not isinstance(sampler, Sized) or isinstance(sampler, InfiniteSampler):  # the latter never ends a pass
        return
    modules = runner.model.modules() if isinstance(runner.model, nn.Module) else ()
    normalized = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
    if normalized and len(sampler) > 1 and len(sampler) % size == 1:
        batches.drop_last = True  # type: ignore[union-attr]
        runner.logger.warning(
            f'the last batch of an epoch would have 1 sample of {len(sampler)}, and the model has batch normalization: '
            'that batch is dropped; set train_dataloader.batch_size to another number to keep it'
        )


def _is_validated(loop: EpochTrainLoop | IterTrainLoop) -> bool:
    """Whether there is nothing to validate, or it was done before the checkpoint was written."""
    return loop._iter == 0 or loop.runner.message_hub.get_info(VALIDATED, -1) == loop._iter


def _validate(loop: EpochTrainLoop | IterTrainLoop) -> None:
    if loop.runner.val_loop is None:
        return
    # Checkpoints written from here on are written by the last hook of the validation (save_best).
    loop.runner.message_hub.update_info(VALIDATED, loop._iter)
    loop.runner.val_loop.run()


def _say_finished(runner: Runner, position: str, key: str) -> None:
    runner.logger.log(
        logging.INFO, f'nothing left to train: the checkpoint is at {position}; raise train_cfg.{key} to go on'
    )
