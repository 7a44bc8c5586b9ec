"""Data loading whose random numbers depend on the place of a sample in the run, not on what was drawn before.

A sample is augmented with generators seeded by (run seed, process, pass over the data, batch, slot in the batch).
Whichever worker loads it, and whether or not the run was stopped in between, it comes out the same. MMEngine seeds each
worker process once, so that the augmentation of a sample depends on all samples that the same worker loaded before.
"""

from __future__ import annotations

import copy
import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.registry import DATA_SAMPLERS as ALL_SAMPLERS
from mmengine.registry import DATASETS as ALL_DATASETS
from torch.utils.data import BatchSampler, DataLoader, Sampler

from mmhyena.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS

__all__ = ['PlacedBatchSampler', 'PlacedDataset', 'PlacedIndex', 'ignore_stop_signals', 'placed_loader', 'seed_from']

# First number of a place, so that a sample, a training step and a pass over the data never share a seed.
SAMPLE, STEP, PASS = 0, 1, 2


def seed_from(*place: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices) with a hash of non-negative numbers."""
    words = np.random.SeedSequence(place).generate_state(8)
    random.seed(int.from_bytes(words[:2].tobytes(), 'little'))
    np.random.seed(words[2:6])  # noqa: NPY002 (what the toolkits' pipelines draw from)
    torch.manual_seed(int.from_bytes(words[6:].tobytes(), 'little') >> 1)


class PlacedIndex(int):
    """Index of a sample that carries its place in the run, also into worker processes."""

    place: tuple[int, ...]

    def __new__(cls, index: int, place: tuple[int, ...]) -> PlacedIndex:
        """Return ``index`` with ``place``, which :func:`seed_from` takes."""
        self = super().__new__(cls, index)
        self.place = place
        return self

    def __getnewargs__(self) -> tuple[int, tuple[int, ...]]:  # type: ignore[override]
        return int(self), self.place


@DATASETS.register_module()
class PlacedDataset:
    """A data set that seeds the global generators from a :class:`PlacedIndex` before it loads a sample.

    Everything else is passed on to the data set inside: attributes are read from it and set on it, and ``isinstance``
    sees its class, since samplers and hooks of the toolkits ask for these.

    Args:
        dataset: Config of the data set, or the data set.
    """

    def __init__(self, dataset: Any) -> None:
        built = ALL_DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        object.__setattr__(self, 'placed', built)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, PlacedIndex):
            seed_from(SAMPLE, *index.place)
            index = int(index)
        return self.placed[index]

    def __len__(self) -> int:
        return len(self.placed)

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        return type(self.placed)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, 'placed'), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.placed, name, value)

    def __reduce_ex__(self, protocol: Any) -> tuple[type, tuple[Any]]:
        return PlacedDataset, (self.placed,)


@DATA_SAMPLERS.register_module()
class PlacedBatchSampler(Sampler):
    """Batches of another batch sampler as :class:`PlacedIndex`, from any batch on.

    Args:
        sampler: Yields indices.
        batch_size: Samples per batch.
        seed: Seed of the run.
        batch_sampler: Config of the batch sampler. Default: :class:`torch.utils.data.BatchSampler`.
        drop_last: Whether the default batch sampler drops an incomplete last batch.
    """

    def __init__(
        self,
        sampler: Sampler,
        batch_size: int,
        seed: int,
        batch_sampler: dict[str, Any] | None = None,
        drop_last: bool = False,
    ) -> None:
        self.sampler, self.batch_size, self.seed = sampler, batch_size, seed
        self.batch_sampler: Any = (
            BatchSampler(sampler, batch_size, drop_last)
            if batch_sampler is None
            else ALL_SAMPLERS.build(batch_sampler, default_args=dict(sampler=sampler, batch_size=batch_size))
        )
        self.epoch = 0
        self._rank = get_rank()
        self._pass: tuple[int, Iterator[Sequence[int]]] | None = None
        self._paused = False

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[int]]:
        if self._paused:
            return
        first, batches = self._pass or (0, iter(self.batch_sampler))
        self._pass = None
        for number, batch in enumerate(batches, first):
            yield [self._place(index, number, slot) for slot, index in enumerate(batch)]

    def begin(self, epoch: int, skip: int = 0) -> None:
        """Let the next iteration start a pass at its batch ``skip``, and go on to later passes if it has fewer.

        Nothing is loaded for the batches that are skipped.
        """
        self.epoch, number, batches = epoch, 0, self._start_pass(epoch)
        for _ in range(skip):
            while next(batches, None) is None:
                if number == 0:
                    raise ValueError('the sampler yields no batch')
                self.epoch, number, batches = self.epoch + 1, 0, self._start_pass(self.epoch + 1)
            number += 1
        self._pass = number, batches

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Yield no batches meanwhile: MMEngine 0.10.7 starts to load before it knows where a run goes on."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def _start_pass(self, epoch: int) -> Iterator[Sequence[int]]:
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)
        # Samplers that draw from the global generators do so when a pass starts.
        seed_from(PASS, self.seed, self._rank, epoch)
        return iter(self.batch_sampler)

    def _place(self, index: Any, number: int, slot: int) -> Any:
        if not isinstance(index, (int, np.integer)):
            return index  # what a sampler of another kind yields is no plain index, and stays unseeded
        return PlacedIndex(int(index), (self.seed, self._rank, self.epoch, number, slot))


@FUNCTIONS.register_module()
def ignore_stop_signals(worker_id: int) -> None:
    """Let a worker of a data loader end on SIGTERM only if its training process sent it.

    Schedulers signal every process of a job. A worker that died of it would take the training process with it before
    that has written its checkpoint.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, name='stop-signals', daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        continue
    os._exit(0)


def placed_loader(runner: Any, dataloader: dict[str, Any] | DataLoader) -> DataLoader:
    """Build the training loader of a config with :class:`PlacedDataset` and :class:`PlacedBatchSampler`.

    A loader that is built already is returned as it is: its random numbers are its own affair.
    """
    if isinstance(dataloader, DataLoader):
        return dataloader
    cfg = copy.copy(dataloader)
    if isinstance(cfg['dataset'], dict):
        cfg['dataset'] = dict(type='mmhyena.PlacedDataset', dataset=cfg['dataset'])
    else:
        cfg['dataset'] = PlacedDataset(cfg['dataset'])
    cfg['batch_sampler'] = dict(
        type='mmhyena.PlacedBatchSampler',
        seed=runner.seed,
        batch_sampler=cfg.get('batch_sampler'),
        drop_last=cfg.pop('drop_last', False),
    )
    diff_rank_seed = runner.cfg.get('randomness', {}).get('diff_rank_seed', False)
    return runner.build_dataloader(cfg, seed=runner.seed, diff_rank_seed=diff_rank_seed)
