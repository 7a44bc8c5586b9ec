"""Pipelines that name the file of a sample that fails, or go on without it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from multiprocessing import Value
from typing import Any

from mmengine.dataset import Compose
from mmengine.logging import print_log

from mmhyena.errors import UserError, one_line
from mmhyena.registry import TRANSFORMS

__all__ = ['ReadSample']

_PLACES = ('img_path', 'seg_map_path')
_MAX_SKIPPED_IN_TURN = 20


@TRANSFORMS.register_module()
class ReadSample:
    """A pipeline whose errors name the file.

    Give it to a data set as its whole pipeline: ``pipeline=[dict(type='mmhyena.ReadSample', transforms=pipeline)]``.
    ``tools/train.py`` and ``tools/test.py`` do so themselves; the top-level key ``broken_images='skip'`` of a config
    sets ``on_error`` for training.

    Args:
        transforms: The pipeline.
        on_error: ``'raise'``, or ``'skip'`` to take another sample instead, as data sets do in training when a pipeline
            returns None; each skipped file is logged with the number so far.
        name: What to call the pipeline in errors.

    Raises:
        UserError: If a transform fails, with its name, the file and the reason; with ``'skip'`` after 20 samples of
            one process in turn.
    """

    def __init__(self, transforms: Sequence[Any], on_error: str = 'raise', name: str = 'pipeline') -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self.pipeline = Compose(transforms)
        self.on_error, self.name = on_error, name
        self._skipped = Value('i', 0)  # shared by the workers of a data loader
        self._in_turn = 0

    @property
    def transforms(self) -> list[Any]:
        """The transforms."""
        return self.pipeline.transforms

    @property
    def num_skipped(self) -> int:
        """How many samples were skipped, in all workers."""
        return self._skipped.value

    def __call__(self, sample: dict) -> Any:
        """Return the processed sample, or None for one that is skipped."""
        source = _source(sample)
        data: Any = sample
        for i, transform in enumerate(self.transforms):
            try:
                data = transform(data)
            except UserError:
                raise
            except Exception as error:
                place = f'{self.name}.{i} ({type(transform).__name__})'
                return self._fail(f'{place}: {source}: {one_line(error)}', error)
            if data is None:
                return None
        self._in_turn = 0
        return data

    def _fail(self, message: str, error: Exception) -> None:
        self._in_turn += 1
        if self.on_error == 'raise' or self._in_turn > _MAX_SKIPPED_IN_TURN:
            raise UserError(message) from error
        with self._skipped.get_lock():
            self._skipped.value += 1
            count = self._skipped.value
        print_log(f'skipped sample {count}: {message}', logger='current', level=logging.WARNING)


def _source(sample: Mapping[str, Any]) -> str:
    """Return the file of a sample, or its number."""
    files = [str(sample[place]) for place in _PLACES if isinstance(sample, Mapping) and sample.get(place)]
    return ', '.join(files) or f'sample {sample.get("sample_idx", "")}'.strip()
