"""Figures as signed distances, their textures and their shading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from mmhyena.datasets.shapes.photos import BACKGROUNDS, MATERIALS, random_crop

CLASSES = ('circle', 'ring', 'square', 'star', 'triangle')
PALETTE = ((220, 20, 60), (0, 130, 200), (60, 180, 75), (245, 200, 0), (145, 30, 180))
"""Display colors, RGB per class, as the toolkits' ``metainfo`` wants them."""

SEG_CLASSES = ('background', *CLASSES)
"""Classes of the label maps after ``reduce_zero_label``."""

SEG_PALETTE = ((60, 60, 60), *PALETTE)

RADIUS_PER_SIZE = {'circle': 0.5, 'ring': 0.52, 'square': 0.64, 'star': 0.6, 'triangle': 0.66}
"""Circumradius of a figure of size 1, so that figures of one size look about equally large."""

CORNERS = {'square': 4, 'star': 5, 'triangle': 3}
STAR_INNER = (0.42, 0.56)  # inner over outer radius; a regular pentagon would have 0.81
RING_WIDTH = (0.28, 0.5)  # width of the band over the outer radius
ASPECT = (0.9, 1.11)  # square root of length over breadth

TEXTURES = ('plain', 'stripes', 'checks', 'dots', 'noise', 'material', 'photo')
TEXTURE_ODDS = (0.4, 0.14, 0.12, 0.1, 0.1, 0.08, 0.06)
TYPICAL_HUE = {'circle': 0.0, 'ring': 0.58, 'square': 0.33, 'star': 0.14, 'triangle': 0.8}
"""Most things have a usual color. It tells a class at first sight, and its exceptions leave the shape to be learnt."""

TYPICAL_ODDS = 0.9
HUE_SPREAD = 0.04
BACKGROUND_COLOR_ODDS = 0.45  # of the colors that are not typical
BLACK_LEVEL = 0.13  # the darkest color of a figure, so that shading still shows on black
BEVEL = 0.35  # brightness that the edge facing the light gains, per unit of light
PHOTO_BLEND = 0.35  # share of the figure's own color over a photo texture


@dataclass(frozen=True)
class Figure:
    """One figure: class, center (pixels), circumradius (pixels), angle (radians), aspect and its detail.

    ``detail`` is inner over outer radius for polygons (stars included) and relative band width for rings.
    """

    name: str
    cx: float
    cy: float
    radius: float
    angle: float
    aspect: float
    detail: float

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance (pixels, negative inside, first order at the edge) of the points ``x``, ``y``."""
        u, v = self.local(x, y)
        rho = np.hypot(u, v)
        if self.name == 'circle':
            d = rho - self.radius
        elif self.name == 'ring':
            half = 0.5 * self.detail * self.radius
            d = np.abs(rho - (self.radius - half)) - half
        else:
            d = self._polygon_distance(rho, u, v)
        return d * min(self.aspect, 1 / self.aspect)

    def local(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of ``x``, ``y`` in the figure's own, unrotated and unstretched frame (pixels)."""
        dx, dy = x - self.cx, y - self.cy
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return (cos * dx + sin * dy) / self.aspect, (cos * dy - sin * dx) * self.aspect

    def _polygon_distance(self, rho: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        # All sectors are folded onto the one between a corner and the next dent, where a single edge bounds the figure.
        sector = np.pi / CORNERS[self.name]
        phi = np.abs((np.arctan2(v, u) + sector) % (2 * sector) - sector)
        dent = self.detail * self.radius
        normal = np.array([dent * np.sin(sector), self.radius - dent * np.cos(sector)])
        normal /= np.hypot(*normal)
        return normal[0] * (rho * np.cos(phi) - self.radius) + normal[1] * rho * np.sin(phi)


def random_figure(rng: np.random.Generator, name: str, size: float, cx: float, cy: float) -> Figure:
    """Draw angle, aspect and detail of a figure ``size`` pixels large, centered at ``(cx, cy)``."""
    if name == 'star':
        detail = rng.uniform(*STAR_INNER)
    elif name == 'ring':
        detail = rng.uniform(*RING_WIDTH)
    elif name == 'circle':
        detail = 0.0
    else:
        detail = float(np.cos(np.pi / CORNERS[name]))  # straight edges
    angle = rng.uniform(0, 2 * np.pi)
    aspect = float(np.exp(rng.uniform(*np.log(ASPECT))))
    return Figure(name, cx, cy, size * RADIUS_PER_SIZE[name], angle, aspect, detail)


def random_color(rng: np.random.Generator, name: str, background: np.ndarray) -> np.ndarray:
    """Draw an RGB color for a figure of class ``name``: its typical one, a pixel of ``background``, or any.

    Args:
        rng: Source of randomness.
        name: Class of the figure.
        background: Image (H, W, 3).

    Returns:
        RGB (3,) in [0, 1], neither black nor white unless the background is.
    """
    if rng.random() < TYPICAL_ODDS:
        return _wheel_color(
            TYPICAL_HUE[name] + rng.normal(0, HUE_SPREAD), rng.uniform(0.4, 0.95), rng.uniform(0.5, 1.0)
        )
    if rng.random() < BACKGROUND_COLOR_ODDS:
        h, w = background.shape[:2]
        return background[rng.integers(h), rng.integers(w)]
    return _wheel_color(rng.random(), rng.uniform(0.25, 0.95), rng.uniform(0.35, 1.0))


def _wheel_color(hue: float, saturation: float, value: float) -> np.ndarray:
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return (value * (1 - saturation * (1 - wheel))).astype(np.float32)


def paint_texture(
    rng: np.random.Generator, figure: Figure, x: np.ndarray, y: np.ndarray, background: np.ndarray, split: str
) -> np.ndarray:
    """Color every point of a figure's box.

    Args:
        rng: Source of randomness.
        figure: The figure.
        x: Columns of the box (1, w), pixels.
        y: Rows of the box (h, 1), pixels.
        background: Image (H, W, 3) from which some of the colors are taken.
        split: Which part of the photographs may be used.

    Returns:
        RGB (h, w, 3) in [0, 1].
    """
    kind = rng.choice(TEXTURES, p=TEXTURE_ODDS)
    first, second = (random_color(rng, figure.name, background) for _ in range(2))
    shape = np.broadcast_shapes(x.shape, y.shape)
    if kind == 'plain':
        return np.broadcast_to(first, (*shape, 3))
    if kind == 'photo':
        patch = random_crop(rng, BACKGROUNDS, split, shape, (0.6, 2.0))
        return patch + PHOTO_BLEND * (first - patch)
    if kind == 'material':
        patch = random_crop(rng, MATERIALS, split, shape, (0.5, 1.5)).mean(axis=2, keepdims=True)
        return np.clip(first * (0.35 + 1.4 * patch), 0.0, 1.0)
    mix = _pattern(rng, kind, figure, x, y)[..., None]
    return first + (second - first) * mix


def _pattern(rng: np.random.Generator, kind: str, figure: Figure, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weight (h, w) in [0, 1] of the second color."""
    if kind == 'noise':
        h, w = np.broadcast_shapes(x.shape, y.shape)
        grid = rng.random((3 + h // 8, 3 + w // 8), dtype=np.float32)
        return np.asarray(Image.fromarray(grid).resize((w, h), Image.Resampling.BICUBIC)).clip(0.0, 1.0)
    u, v = figure.local(x, y)
    period = max(4.0, figure.radius * rng.uniform(0.3, 0.8))
    a, b = (2 * np.pi * (p / period + rng.random()) for p in (u, v))
    if kind == 'stripes':
        wave = np.sin(a)
    elif kind == 'checks':
        wave = np.sin(a) * np.sin(b)
    else:
        wave = np.cos(a) + np.cos(b) - 0.7
    return np.clip(0.5 + wave * period / 5, 0.0, 1.0)


def shade(
    color: np.ndarray, figure: Figure, distance: np.ndarray, x: np.ndarray, y: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Light a figure: a gradient along ``light``, and a bevel at the edge, bright towards the light, dark away from it.

    Args:
        color: RGB (h, w, 3) in [0, 1].
        figure: The figure.
        distance: Its signed distance (h, w), pixels.
        x: Columns (1, w).
        y: Rows (h, 1).
        light: Vector (x, y) towards the light; its length is the strength of the gradient.

    Returns:
        RGB (h, w, 3) in [0, 1].
    """
    lit = ((x - figure.cx) * light[0] + (y - figure.cy) * light[1]) / figure.radius
    bevel = np.exp(np.minimum(distance, 0.0) / (0.1 * figure.radius + 0.5))
    gain = (1.0 + lit * (1.0 + 0.5 * bevel) - 0.12 * bevel)[..., None]
    lifted = BLACK_LEVEL + (1.0 - BLACK_LEVEL) * color
    return np.clip(lifted * gain + BEVEL * (lit * bevel)[..., None], 0.0, 1.0)
