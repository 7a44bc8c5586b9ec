"""Testing a trained model at other resolutions, with its long kernels as trained, resampled or extended.

Two things grow in an image that has more pixels: its objects, or what surrounds them. The first is tested by scaling
the images of the test pipeline, the second needs larger images of objects of the same size.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmhyena.analysis.reach import long_convs
from mmhyena.errors import UserError
from mmhyena.layers.long_conv import FilterResize

__all__ = ['ResolutionHook', 'filter_resize', 'has_long_convs', 'rescale_test', 'use_canvas']


@contextmanager
def filter_resize(model: nn.Module, resize: FilterResize) -> Iterator[int]:
    """Resample or extend the long kernels of a model to its maps, or keep their taps, within the ``with`` block.

    Args:
        model: Any model; one without long convolutions stays as it is.
        resize: Whether and how kernels cover the feature map at hand, see :class:`mmhyena.layers.LongConv`.

    Yields:
        How many long convolutions there are.
    """
    convs = list(long_convs(model).values())
    before = [conv.filter_resize for conv in convs]
    try:
        for conv in convs:
            conv.filter_resize = resize
            conv.train(conv.training)  # forgets cached kernels
        yield len(convs)
    finally:
        for conv, resized in zip(convs, before):
            conv.filter_resize = resized
            conv.train(conv.training)


def has_long_convs(model: nn.Module) -> bool:
    """Return whether ``filter_resize`` makes a difference to a model."""
    return bool(long_convs(model))


class ResolutionHook(Hook):
    """Tests a model with kernels as trained, resampled or extended, on the images that the test set gives.

    Args:
        resize: See :func:`filter_resize`; None leaves the model as it is configured.

    Attributes:
        images: How many images are tested.
    """

    def __init__(self, resize: FilterResize | None) -> None:
        self.resize = resize
        self.images = 0
        self._resized = ExitStack()

    def before_test(self, runner: Runner) -> None:
        """Set the kernels, and tell COCO metrics which images are tested."""
        if self.resize is not None:
            self._resized.enter_context(filter_resize(runner.model, self.resize))
        dataset = runner.test_dataloader.dataset
        self.images = len(dataset)
        for metric in runner.test_evaluator.metrics:
            if hasattr(metric, 'img_ids') and hasattr(metric, 'cat_ids'):
                # All images of the annotation file count otherwise, and those that are left out as missed.
                metric.img_ids = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]

    def after_test(self, runner: Runner) -> None:
        """Restore the kernels."""
        self._resized.close()


def rescale_test(cfg: Config, factor: float) -> list[dict]:
    """Return the test pipeline of a config with images, and the objects in them, ``factor`` times as large.

    Every ``Resize`` is scaled: its ``scale``, or its ``scale_factor`` where it has one.

    Raises:
        UserError: If there is no such transform to scale, or one that fixes the size afterwards.
    """
    pipeline = copy.deepcopy(_test_dataset(cfg)['pipeline'])
    resizes = [step for step in pipeline if str(step['type']).rpartition('.')[2] == 'Resize']
    others = [step['type'] for step in pipeline if 'crop' in str(step['type']).lower()]
    if not resizes or others:
        found = f'has {others[0]}' if others else 'has no Resize'
        raise UserError(f'the test pipeline {found}: images are scaled by a Resize that no crop follows')
    for step in resizes:
        if 'scale_factor' in step:
            step['scale_factor'] = _scaled(step['scale_factor'], factor)
        else:
            step['scale'] = _scaled(step['scale'], factor, whole=True)
    return pipeline


def use_canvas(cfg: Config, factor: float, data_root: str | Path) -> dict[str, Any]:
    """Return config overrides that test on images ``factor`` times as large of objects of the same size.

    Args:
        cfg: Config of the model; a ``Resize`` to a fixed ``scale`` grows with the images, one by a factor stays.
        factor: How many times as long the sides of the images are.
        data_root: A data set of such images with the files and formats of the config's own.
    """
    dataset = _test_dataset(cfg)
    pipeline = copy.deepcopy(dataset['pipeline'])
    for step in pipeline:
        if str(step['type']).rpartition('.')[2] == 'Resize' and 'scale' in step:
            step['scale'] = _scaled(step['scale'], factor, whole=True)
    root = str(data_root).rstrip('/') + '/'
    found: dict[str, Any] = {'test_dataloader.dataset.pipeline': pipeline, 'test_dataloader.dataset.data_root': root}
    evaluator = cfg.get('test_evaluator')
    annotations = evaluator.get('ann_file') if isinstance(evaluator, dict) else None
    if annotations:
        own = str(dataset.get('data_root', ''))
        if not str(annotations).startswith(own):
            raise UserError(f'test_evaluator.ann_file {annotations} is not below data_root {own}')
        found['test_evaluator.ann_file'] = root + str(annotations)[len(own) :].lstrip('/')
    return found


def _test_dataset(cfg: Config) -> dict:
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    if 'pipeline' not in dataset:
        raise UserError('the config has no test_dataloader.dataset.pipeline')
    return dataset


def _scaled(value: float | Sequence[float], factor: float, whole: bool = False) -> Any:
    if isinstance(value, Sequence):
        return tuple(_scaled(side, factor, whole) for side in value)
    return round(value * factor) if whole else value * factor
