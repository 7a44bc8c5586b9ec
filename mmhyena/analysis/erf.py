"""Effective receptive fields: how much each input pixel contributes to one feature of a feature map.

The protocol of RepLKNet (arXiv 2203.06717, section 4.1 and appendix): the gradient of the sum of the central feature's
positive part with respect to the image, negative values cut off, summed over the channels of the image and over images.
The same is measured for features at other positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ['THRESHOLDS', 'EffectiveReceptiveField', 'receptive_field']

THRESHOLDS = (0.2, 0.3, 0.5, 0.99)


@dataclass(frozen=True)
class EffectiveReceptiveField:
    """Contributions of the input pixels to one feature.

    Attributes:
        scores: ``(H, W)``, non-negative, averaged over images.
        images: Number of images.
        position: Row and column of the feature's center, in pixels of the image; None for the central feature.
    """

    scores: np.ndarray
    images: int
    position: tuple[float, float] | None = None

    def area_ratio(self, threshold: float) -> float:
        """Return the share of the image that the smallest centered window with ``threshold`` of the scores takes.

        The window has the proportions of the image and the parity of its sides, so its center is that of the image.

        Raises:
            ValueError: If the threshold is out of range, or the field is not that of the central feature.
        """
        _check_threshold(threshold)
        if self.position is not None:
            raise ValueError('the area is that of a centered window: measure the field of the central feature')
        height, width = self.scores.shape
        total = self.scores.sum()
        steps = max(height, width)
        for step in range(1, steps + 1):
            h, w = -(-height * step // steps), -(-width * step // steps)
            top, left = (height - h) // 2, (width - w) // 2
            if self.scores[top : top + h, left : left + w].sum() >= threshold * total:
                return h * w / (height * width)
        return 1.0

    def area_ratios(self, thresholds: Sequence[float] = THRESHOLDS) -> dict[float, float]:
        """Return :meth:`area_ratio` of several thresholds."""
        return {threshold: self.area_ratio(threshold) for threshold in thresholds}

    def radius(self, threshold: float) -> float:
        """Return the distance from the feature, in pixels, within which ``threshold`` of the scores lie.

        Raises:
            ValueError: If the threshold is out of range.
        """
        _check_threshold(threshold)
        height, width = self.scores.shape
        row, column = self.position or ((height - 1) / 2, (width - 1) / 2)
        distances = np.hypot(np.arange(height)[:, None] - row, np.arange(width) - column).ravel()
        order = np.argsort(distances, kind='stable')
        sums = np.cumsum(self.scores.ravel()[order])
        return float(distances[order][np.searchsorted(sums, threshold * sums[-1])])

    def heat(self) -> np.ndarray:
        """Return ``(H, W)`` in [0, 1] on the logarithmic scale that such pictures are drawn on."""
        heat = np.log10(self.scores / max(self.scores.max(), np.finfo(np.float32).tiny) * 1e4 + 1)
        return heat / max(heat.max(), np.finfo(np.float32).tiny)


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f'threshold must be between 0 and 1, got {threshold}')


def receptive_field(
    features: Callable[[Tensor], Tensor], images: Iterable[Tensor], at: tuple[float, float] | None = None
) -> EffectiveReceptiveField:
    """Measure the effective receptive field of the central feature, or of the one at a position.

    Args:
        features: Maps an image ``(1, C, H, W)`` to a feature map ``(1, C', H', W')``, differentiably.
        images: Preprocessed images ``(C, H, W)``, all of one size.
        at: Position from the top and from the left, as fractions of height and width in [0, 1).

    Raises:
        ValueError: If there is no image, sizes differ, the feature map is of another form, or the position is outside.
    """
    if at is not None and not all(0 <= fraction < 1 for fraction in at):
        raise ValueError(f'a position is two fractions of the image in [0, 1), got {at}')
    position: tuple[float, float] | None = None
    total: Tensor | None = None
    count = 0
    for image in images:
        x = image[None].detach().clone().requires_grad_()
        with torch.enable_grad():
            y = features(x)
            if y.dim() != 4:
                raise ValueError(f'a feature map (1, C, H, W) is expected, got shape {tuple(y.shape)}')
            row, column = (int(size * fraction) for size, fraction in zip(y.shape[2:], at or (0.5, 0.5)))
            (gradient,) = torch.autograd.grad(y[0, :, row, column].relu().sum(), x)
        if at is not None:
            position = _center(row, y.shape[2], x.shape[2]), _center(column, y.shape[3], x.shape[3])
        score = gradient[0].relu().sum(0).double()  # (H, W)
        if total is not None and total.shape != score.shape:
            raise ValueError(f'images of one size are expected, got {tuple(total.shape)} and {tuple(score.shape)}')
        total = score if total is None else total + score
        count += 1
    if total is None:
        raise ValueError('at least one image is needed')
    return EffectiveReceptiveField((total / count).cpu().numpy(), count, position)


def _center(index: int, features: int, pixels: int) -> float:
    """Return the pixel coordinate of the middle of a feature along one axis."""
    return (index + 0.5) * pixels / features - 0.5
