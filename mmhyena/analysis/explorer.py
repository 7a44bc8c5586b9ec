"""One model and one image from all sides, as pictures: prediction, feature maps, kernels, the field of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmhyena.analysis.erf import receptive_field
from mmhyena.analysis.features import principal_components
from mmhyena.analysis.figures import kernel_figure, to_picture
from mmhyena.analysis.kernels import summarize_kernels
from mmhyena.analysis.models import feature_map, feature_maps, name_of
from mmhyena.apis import Inferencer
from mmhyena.apis.inference.images import ImageLike
from mmhyena.apis.inference.results import Classification, Detection, Result, Segmentation
from mmhyena.errors import UserError
from mmhyena.visualization import draw_heat

__all__ = ['Explorer', 'FeaturePicture', 'ModelShelf', 'Table']

_SMALLEST_SIDE = 384
"""Smaller inputs and feature maps are enlarged by a whole factor, so that one can see and hit their pixels."""


@dataclass(frozen=True)
class FeaturePicture:
    """A feature map as a picture.

    Attributes:
        name: For example 'backbone 3', as :meth:`Explorer.field` takes it.
        caption: Name, channels, height and width, and the share of the variance that the colors show.
        picture: RGB (H, W, 3), uint8: the first three principal components.
    """

    name: str
    caption: str
    picture: np.ndarray


@dataclass(frozen=True)
class Table:
    """A prediction in words: one row per object or class."""

    headers: list[str]
    rows: list[list[Any]]


class Explorer:
    """A trained model, and what can be seen of it.

    Args:
        model: Config file, or name in the model index.
        checkpoint: Weights; None takes those that the model index names.
        device: 'cpu', 'cuda', ...; None takes an accelerator if there is one.

    Raises:
        UserError: If the config, the checkpoint or the device is not usable.
    """

    def __init__(self, model: str | Path, checkpoint: str | Path | None = None, device: str | None = None) -> None:
        self.name = name_of(model)
        # Not fused: gradients are asked for, and modules are looked into.
        self.inferencer = Inferencer(model, checkpoint, device=device, fuse=False)
        self.model: Any = self.inferencer.model

    def predict(self, image: ImageLike, score_thr: float = 0.3, opacity: float = 0.45) -> tuple[np.ndarray, Table]:
        """Return the drawn prediction, RGB (H, W, 3) in uint8, small ones enlarged, and the same as a table.

        Raises:
            UserError: If the image is not usable.
        """
        (result,) = self.inferencer([image])
        return self.inferencer.draw(_enlarge_result(result), score_thr, opacity), to_table(result, score_thr)

    def input_picture(self, image: ImageLike) -> np.ndarray:
        """Return the image as the model gets it, RGB (H, W, 3) in uint8; small ones are enlarged.

        Raises:
            UserError: If the image is not usable.
        """
        return enlarge(self.inferencer.prepare(image).picture)

    @torch.no_grad()
    def features(self, image: ImageLike) -> list[FeaturePicture]:
        """Return the feature maps of the backbone, then of the neck, where they are maps.

        Raises:
            UserError: If the image is not usable, or the backbone gives vectors.
        """
        fed = self.inferencer.prepare(image)
        side = min(enlarge(fed.picture).shape[:2])
        return [_to_picture(name, feature[0], side) for name, feature in self._maps(fed.tensor)]

    def _maps(self, x: Tensor) -> list[tuple[str, Tensor]]:
        named = [(f'backbone {level}', feature) for level, feature in enumerate(feature_maps(self.model, x))]
        if self.inferencer.task != 'classification' and getattr(self.model, 'neck', None) is not None:
            named += [(f'neck {level}', feature) for level, feature in enumerate(feature_maps(self.model, x, 'neck'))]
        return named

    def kernels(self, channels: int = 4) -> np.ndarray:
        """Return a picture of the learned kernels of all long convolutions, RGB (H, W, 3), uint8.

        Raises:
            UserError: If the model has no long convolution.
        """
        try:
            summaries = summarize_kernels(self.model)
        except ValueError as error:
            raise UserError(f'{self.name}: {error}') from error
        return to_picture(kernel_figure(summaries, channels, self.name))

    def field(self, image: ImageLike, point: tuple[float, float], feature: str) -> tuple[np.ndarray, str]:
        """Return the effective receptive field of a feature: the input's gradient, on a logarithmic scale.

        Args:
            image: An image.
            point: Column and row (x, y) in :meth:`input_picture` of the image.
            feature: Name of a feature map, for example 'backbone 3'.

        Returns:
            The field over the image, RGB (H, W, 3) in uint8, with a cross at the feature, and one sentence about it.

        Raises:
            UserError: If the image is not usable, the point is outside, or there is no such feature map.
        """
        part, _, level = feature.partition(' ')
        if part not in ('backbone', 'neck') or not level.isdecimal():
            raise UserError(f"no feature map is called {feature!r}: names are of the form 'backbone 3' or 'neck 0'")
        fed = self.inferencer.prepare(image)
        picture = enlarge(fed.picture)
        height, width = picture.shape[:2]
        x, y = point
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(f'the point ({x:g}, {y:g}) is outside the picture of {width} x {height} pixels')
        field = receptive_field(
            lambda tensor: feature_map(self.model, tensor, part, int(level)), fed.tensor, (y / height, x / width)
        )
        row, column = field.position or (0.0, 0.0)
        if not field.scores.any():
            about = 'no pixel contributes: all channels of this feature are negative here'
        else:
            half, most = field.radius(0.5), field.radius(0.95)
            about = f'half of the contributions come from within {half:.0f} pixels of it, 95% from within {most:.0f}'
        size = f'{fed.picture.shape[1]} x {fed.picture.shape[0]}'
        text = f'The feature of {feature} at pixel ({column:.0f}, {row:.0f}) of the {size} of the input: {about}.'
        scale = height / fed.picture.shape[0]
        cross = (column + 0.5) * scale - 0.5, (row + 0.5) * scale - 0.5
        return draw_heat(picture, field.heat(), cross), text


class ModelShelf:
    """Models by name, each loaded when it is first asked for.

    Args:
        models: Config or name in the model index, and checkpoint or None, of each.
        device: As in :class:`Explorer`.
    """

    def __init__(self, models: Sequence[tuple[str, str | None]], device: str | None = None) -> None:
        self.device = device
        self._sources: dict[str, tuple[str, str | None]] = {}
        self._loaded: dict[str, Explorer] = {}
        for config, checkpoint in models:
            self._sources[self._unique(name_of(config))] = (config, checkpoint)

    def _unique(self, name: str) -> str:
        numbers = (f'{name} ({number})' for number in range(2, len(self._sources) + 2))
        return name if name not in self._sources else next(other for other in numbers if other not in self._sources)

    @property
    def names(self) -> list[str]:
        """Names of the models, in order; models of one name are numbered."""
        return list(self._sources)

    def get(self, name: str) -> Explorer:
        """Return a model.

        Raises:
            UserError: If it cannot be loaded, or has another name.
        """
        if name not in self._sources:
            raise UserError(f'there is no model {name}: choose one of {", ".join(self._sources)}')
        if name not in self._loaded:
            self._loaded[name] = Explorer(*self._sources[name], device=self.device)
        return self._loaded[name]


def to_table(result: Result, score_thr: float = 0.0, top_k: int = 10) -> Table:
    """Return a prediction as a table.

    Args:
        result: Of any task.
        score_thr: Detected objects with a lower score are left out.
        top_k: Classes listed for a classified image.
    """
    if isinstance(result, Detection):
        rows = [
            [result.name(int(label)), f'{score:.2f}', *(round(float(value)) for value in box)]
            for label, score, box in zip(result.labels, result.scores, result.boxes)
            if score >= score_thr
        ]
        return Table(['object', 'score', 'left', 'top', 'right', 'bottom'], rows)
    if isinstance(result, Segmentation):
        return Table(
            ['class', 'share of the image'],
            [[result.name(label), f'{share:.1%}'] for label, share in result.shares.items()],
        )
    if not isinstance(result, Classification):
        raise TypeError(f'no table is defined for {type(result).__name__}')
    return Table(['class', 'score'], [[name, f'{score:.3f}'] for _, name, score in result.top(top_k)])


def enlarge(picture: np.ndarray, side: int = _SMALLEST_SIDE) -> np.ndarray:
    """Repeat the pixels of a picture (H, W, 3) until its shorter side has ``side`` pixels or more."""
    factor = _factor(picture, side)
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _factor(picture: np.ndarray, side: int = _SMALLEST_SIDE) -> int:
    return max(1, -(-side // min(picture.shape[:2])))


def _enlarge_result(result: Result) -> Result:
    """Return a prediction for a small image as one for the enlarged image, on which labels cover less."""
    image = enlarge(result.image)
    changes: dict[str, Any] = dict(image=image)
    if isinstance(result, Detection):
        changes['boxes'] = result.boxes * _factor(result.image)
        if result.masks is not None:
            factor = _factor(result.image)
            changes['masks'] = result.masks.repeat(factor, axis=1).repeat(factor, axis=2)
    elif isinstance(result, Segmentation):
        changes['class_map'] = enlarge(result.class_map)
    return replace(result, **changes)


def _to_picture(name: str, feature: Tensor, side: int) -> FeaturePicture:
    """Return a feature map (C, H, W) as a picture of the size of the input's."""
    colors, shares = principal_components(feature)
    picture = enlarge(np.round(colors * 255).astype(np.uint8), side)
    channels, height, width = feature.shape
    caption = f'{name}: {channels} x {height} x {width}, {sum(shares):.0%}'
    return FeaturePicture(name, caption, picture)
