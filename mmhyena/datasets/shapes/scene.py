"""Scenes: where figures lie, what hides what, and the finished picture with its masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmhyena.datasets.shapes.figures import CLASSES, Figure, paint_texture, random_figure, shade
from mmhyena.datasets.shapes.photos import BACKGROUNDS, jitter_color, random_crop

SPLITS = ('train', 'val')
MIN_SIDE = 32  # pixels; below that no figure of MAX_SIZE_SHARE would have MIN_SIZE

FIGURES = (2, 5)  # fewest and most figures per scene
MIN_SIZE = 12.0  # pixels
MAX_SIZE_SHARE = 0.5  # of the image's shorter side
SIZE_BETA = (2.8, 0.9)  # shape of the size's distribution between its limits, on a logarithmic scale
INSIDE = 0.2  # how far, in sizes, a center at least lies inside the image, unless it is put next to another
NEIGHBOUR_ODDS = 0.2  # how often a figure is put next to an earlier one rather than anywhere
PLACING_TRIES = 12

MIN_VISIBLE_FRACTION = 0.6
MIN_VISIBLE_PIXELS = 40

LIGHT = (0.12, 0.3)
SHADOW = 0.4
SENSOR_NOISE = (0.004, 0.018)
BACKGROUND_SCALE = (0.7, 2.2)  # photograph pixels per image pixel

_STREAMS = {'scene': 0, 'single': 1, 'far-context': 2, 'far-context single': 3}


@dataclass(frozen=True)
class Scene:
    """A rendered image with its visible instances, back to front.

    Attributes:
        image: RGB (H, W, 3), uint8.
        owner: (H, W), int16: index of the instance seen at a pixel, -1 for the background.
        labels: (N,), class indices into ``CLASSES``.
        full_areas: (N,), pixels each instance would have if nothing hid it, not even the image's border.
    """

    image: np.ndarray
    owner: np.ndarray
    labels: np.ndarray
    full_areas: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        """Visible masks (N, H, W), bool; disjoint."""
        return self.owner == np.arange(len(self.labels), dtype=np.int16)[:, None, None]

    @property
    def semantic(self) -> np.ndarray:
        """Label map (H, W), uint8: 0 for the background, class index + 1 elsewhere."""
        return np.append(self.labels + 1, 0).astype(np.uint8)[self.owner]


def image_rng(seed: int, split: str, index: int, stream: str) -> np.random.Generator:
    """The generator of one image: independent of every other image's, whatever the order."""
    if split not in SPLITS:
        raise ValueError(f"split is '{split}'; it must be one of {', '.join(SPLITS)}")
    return np.random.default_rng([seed, SPLITS.index(split), _STREAMS[stream], index])


def render_scene(
    index: int,
    *,
    seed: int = 0,
    split: str = 'train',
    size: tuple[int, int] = (160, 160),
    figure_side: int | None = None,
) -> Scene:
    """Render detection and segmentation image number ``index``.

    Args:
        index: Number of the image in its split, from 0.
        seed: Seed of the data set.
        split: ``'train'`` or ``'val'``.
        size: Height and width, pixels, at least 32.
        figure_side: Side of the square image whose figure sizes and number of figures per area the image takes over,
            pixels; a larger ``size`` then shows more of the same figures. None for the sizes that belong to ``size``.

    Raises:
        ValueError: unknown split, or a side below 32.
    """
    canvas = Canvas(image_rng(seed, split, index, 'scene'), split, size, figure_side)
    count = int(canvas.rng.integers(FIGURES[0], FIGURES[1] + 1))
    if figure_side is not None:
        count = max(1, round(count * size[0] * size[1] / figure_side**2))
    for _ in range(count):
        canvas.place()
    return canvas.finish()


def render_single(
    index: int, label: int, *, seed: int = 0, split: str = 'train', size: tuple[int, int] = (64, 64)
) -> np.ndarray:
    """Render classification image number ``index`` of class ``label``: one figure near the center.

    Half of the images have a smaller figure of any class that peeps out from behind it.

    Returns:
        RGB (H, W, 3), uint8.

    Raises:
        ValueError: unknown split, or a side below 32.
    """
    canvas = Canvas(image_rng(seed, split, index * len(CLASSES) + label, 'single'), split, size)
    rng, (h, w) = canvas.rng, size
    side = min(h, w)
    if rng.random() < 0.5:
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.42, 0.6) * side
        x, y = w / 2 + reach * np.cos(angle), h / 2 + reach * np.sin(angle)
        name = CLASSES[rng.integers(len(CLASSES))]
        canvas.paint(random_figure(rng, name, rng.uniform(0.2, 0.35) * side, x, y), keep_visible=False)
    x, y = np.array([w, h]) / 2 + rng.uniform(-0.1, 0.1, 2) * side
    canvas.paint(random_figure(rng, CLASSES[label], rng.uniform(0.4, 0.8) * side, x, y), keep_visible=False)
    return canvas.finish().image


class Canvas:
    """A scene while it is painted, back to front."""

    def __init__(
        self, rng: np.random.Generator, split: str, size: tuple[int, int], figure_side: int | None = None
    ) -> None:
        smallest = min(*size, size[0] if figure_side is None else figure_side)
        if smallest < MIN_SIDE:
            raise ValueError(f'size is {size[0]}x{size[1]}; both sides must be at least {MIN_SIDE} pixels')
        self.rng, self.split, self.size = rng, split, size
        self.largest = MAX_SIZE_SHARE * (min(size) if figure_side is None else figure_side)
        self.image = jitter_color(rng, random_crop(rng, BACKGROUNDS, split, size, BACKGROUND_SCALE))  # (H, W, 3)
        self.background = self.image.copy()
        self.owner = np.full(size, -1, dtype=np.int16)
        self.figures: list[Figure] = []
        self.full_areas: list[int] = []
        angle = rng.uniform(0, 2 * np.pi)
        self.light = rng.uniform(*LIGHT) * np.array([np.cos(angle), np.sin(angle)])

    def place(self) -> None:
        """Put one more figure where the rule of visibility holds; give up after a few tries."""
        name = CLASSES[self.rng.integers(len(CLASSES))]
        size = MIN_SIZE * (self.largest / MIN_SIZE) ** self.rng.beta(*SIZE_BETA)
        for _ in range(PLACING_TRIES):
            if self.paint(random_figure(self.rng, name, size, *self._position(size))):
                return

    def _position(self, size: float) -> tuple[float, float]:
        h, w = self.size
        if self.figures and self.rng.random() < NEIGHBOUR_ODDS:
            other = self.figures[self.rng.integers(len(self.figures))]
            angle = self.rng.uniform(0, 2 * np.pi)
            reach = self.rng.uniform(0.6, 1.1) * (other.radius + size / 2)
            return other.cx + reach * np.cos(angle), other.cy + reach * np.sin(angle)
        margin = INSIDE * size
        return self.rng.uniform(margin, w - margin), self.rng.uniform(margin, h - margin)

    def paint(self, figure: Figure, keep_visible: bool = True) -> bool:
        """Paint ``figure`` over all others, unless ``keep_visible`` and something would be left with little to see."""
        # The shadow falls away from the light and fades over a fifth of the radius.
        drop = -self.light / np.hypot(*self.light) * (0.08 * figure.radius + 1.0)
        reach = 1.3 * figure.radius + 3
        rows, columns = (
            np.arange(np.floor(center - reach), np.ceil(center + reach) + 1) for center in (figure.cy, figure.cx)
        )
        inside_y, inside_x = ((p >= 0) & (p < n) for p, n in zip((rows, columns), self.size, strict=True))
        distance = figure.distance(columns[None, :], rows[:, None])  # (h, w), the border ignored
        full_area = int((distance <= 0).sum())
        window = np.ix_(inside_y, inside_x)
        x, y, distance = columns[None, inside_x], rows[inside_y, None], distance[window]
        if distance.size == 0:
            return False
        box = (slice(int(y[0, 0]), int(y[-1, 0]) + 1), slice(int(x[0, 0]), int(x[0, -1]) + 1))
        if keep_visible and not self._all_stay_visible(box, distance <= 0, full_area):
            return False
        soft = 0.2 * figure.radius + 1.0
        shadow = SHADOW * np.clip(0.5 - figure.distance(x - drop[0], y - drop[1]) / soft, 0.0, 1.0)
        color = paint_texture(self.rng, figure, x, y, self.background, self.split)
        color = shade(color, figure, distance, x, y, self.light)
        cover = np.clip(0.5 - distance, 0.0, 1.0)[..., None]
        under = self.image[box] * (1.0 - shadow[..., None])
        self.image[box] = under + cover * (color - under)
        self.owner[box][distance <= 0] = len(self.figures)
        self.figures.append(figure)
        self.full_areas.append(full_area)
        return True

    def _all_stay_visible(self, box: tuple[slice, slice], mask: np.ndarray, full_area: int) -> bool:
        count = len(self.figures)
        visible = np.bincount(self.owner.ravel() + 1, minlength=count + 1)[1:]
        hidden = np.bincount(self.owner[box][mask] + 1, minlength=count + 1)[1:]
        left = np.append(visible - hidden, mask.sum())
        full = np.append(self.full_areas, full_area)
        return bool(np.all(left >= np.maximum(MIN_VISIBLE_PIXELS, MIN_VISIBLE_FRACTION * full)))

    def remove_color(self) -> None:
        """Turn what is painted so far into shades of gray."""
        self.image[:] = self.image.mean(axis=-1, keepdims=True)

    def mark(self, figure: Figure, color: np.ndarray) -> None:
        """Paint ``figure`` in one ``color``, RGB in [0, 1], as a part of the background that has no label."""
        rows, columns = np.arange(self.size[0])[:, None], np.arange(self.size[1])[None]
        cover = np.clip(0.5 - figure.distance(columns, rows), 0.0, 1.0)[..., None]
        self.image += cover * (color - self.image)

    def finish(self, label: int | None = None) -> Scene:
        """Add sensor noise and close the scene; ``label`` is the class of all figures instead of their own."""
        sigma = self.rng.uniform(*SENSOR_NOISE)
        noisy = self.image + sigma * self.rng.standard_normal(self.image.shape, dtype=np.float32)
        image = (np.clip(noisy, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
        labels = np.array([CLASSES.index(f.name) if label is None else label for f in self.figures], dtype=np.int64)
        return Scene(image, self.owner, labels, np.array(self.full_areas, dtype=np.int64))
