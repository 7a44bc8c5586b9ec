"""Trained models and images for the analysis tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmcv
import torch
from torch import Tensor, nn

from mmhyena.apis import Inferencer
from mmhyena.apis.inference.images import find_images, to_bgr
from mmhyena.backbones.pyramid import PyramidBackbone
from mmhyena.errors import UserError

__all__ = ['feature_map', 'feature_maps', 'load_images', 'load_model', 'name_of', 'pooled_stages']


def name_of(config: str | Path) -> str:
    """Return what a picture calls the model of a config: the file's name, or backbone and seed for a compared one."""
    path = Path(config)
    if path.stem == 'config' and path.parent.name.startswith('seed'):  # as tools/benchmarks/compare.py writes them
        return f'{path.parent.parent.name}, seed {path.parent.name.removeprefix("seed")}'
    return path.stem


def load_model(config: str | Path, checkpoint: str | Path | None, device: str | None = None) -> nn.Module:
    """Return a trained classifier, detector or segmentor in evaluation mode.

    Raises:
        UserError: If the config, the checkpoint or the device is not usable.
    """
    # Not fused: the tools ask for gradients and look into the modules.
    return Inferencer(config, checkpoint, device=device, fuse=False).model


def load_images(model: Any, source: str, size: Sequence[int], limit: int) -> Iterator[Tensor]:
    """Yield images ``(C, H, W)`` of a file, folder or glob, resized to ``size`` and normalized as the model wants them.

    Args:
        model: A model with a data preprocessor.
        source: File, folder or glob.
        size: Height and width.
        limit: Most images.
    """
    device = next(model.parameters()).device
    for path in find_images(source)[:limit]:
        image = mmcv.imresize(to_bgr(path), (size[1], size[0]))
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy()).to(device)
        yield model.data_preprocessor(dict(inputs=[tensor], data_samples=None), training=False)['inputs'][0]


def feature_maps(model: Any, x: Tensor, part: str = 'backbone') -> list[Tensor]:
    """Return all feature maps ``(B, C, H, W)`` of a model; arguments and errors are those of :func:`feature_map`."""
    return [_as_map(feature, part) for feature in _features(model, x, part)]


def feature_map(model: Any, x: Tensor, part: str = 'backbone', level: int = -1) -> Tensor:
    """Return a feature map ``(B, C, H, W)`` of a model.

    Args:
        model: A classifier, detector or segmentor.
        x: Normalized images ``(B, 3, H, W)``.
        part: ``'backbone'``, or ``'neck'`` for what the backbone's features become there.
        level: Which of the feature maps.

    Raises:
        UserError: If the model has no such part or level, or the part gives no map.
    """
    features = _features(model, x, part)
    try:
        feature = features[level]
    except IndexError:
        raise UserError(f'the {part} has {len(features)} feature maps, so there is no level {level}') from None
    return _as_map(feature, part)


def _features(model: Any, x: Tensor, part: str) -> Sequence[Tensor]:
    if part == 'neck' and getattr(model, 'neck', None) is None:
        raise UserError('the model has no neck: take the features of the backbone')
    if part == 'neck':
        return model.neck(model.backbone(x))
    with _unpooled(model.backbone):
        return model.backbone(x)


@contextmanager
def _unpooled(backbone: nn.Module) -> Iterator[None]:
    """Let a backbone that pools for a classifier give maps instead, normalized at each position."""
    names = dict(gap_before_final_norm=False, out_type='featmap')  # of the pyramids, and of the others
    before = {name: getattr(backbone, name) for name in names if hasattr(backbone, name)}
    try:
        for name in before:
            setattr(backbone, name, names[name])
        yield
    finally:
        for name, value in before.items():
            setattr(backbone, name, value)


def _as_map(feature: Tensor, part: str) -> Tensor:
    if feature.dim() == 2:
        raise UserError(f'the {part} gives vectors, not maps: take the backbone of another model')
    return feature


def pooled_stages(backbone: nn.Module) -> list[nn.Module]:
    """Return the stages whose maps ``(B, H, W, C)`` a classifier's backbone pools before it returns them, or none."""
    if not (isinstance(backbone, PyramidBackbone) and backbone.gap_before_final_norm):
        return []
    return [backbone.stages[index] for index in backbone.out_indices]
