"""Objects, regions and classes drawn on images, independent of any toolkit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import matplotlib
import numpy as np
from PIL import Image

from mmhyena.visualization.colors import Color, full_palette
from mmhyena.visualization.labels import LabelWriter, font_size

__all__ = ['class_name', 'draw_classes', 'draw_heat', 'draw_objects', 'draw_regions']

_BACKGROUND_NAMES = {'background', '_background_', '__background__', 'bg', 'unlabeled', 'void'}

_PLATE = (32, 32, 32)


def class_name(names: Sequence[str], label: int) -> str:
    """Return the name of a class, or its index if it has no name."""
    return names[label] if label < len(names) else str(label)


def draw_objects(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str],
    palette: Any = None,
    scores: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    opacity: float = 0.45,
) -> np.ndarray:
    """Draw boxes, masks and labels such as "cat 0.85" of objects; those given first end up on top.

    In a crowd the labels of the last objects are left out where they would cover those of the first ones.

    Args:
        image: RGB (H, W, 3), uint8; not changed.
        boxes: (n, 4): x1, y1, x2, y2 in pixels.
        labels: Class per object, an index into ``names``; one beyond them is shown as a number.
        names: Class names.
        palette: RGB color per class; hues of our own where it lacks some, see :func:`~.colors.full_palette`.
        scores: (n,), written behind the name; None for ground truth.
        masks: (n, H, W), bool, or None.
        opacity: Of masks, from 0 to 1.

    Returns:
        RGB (H, W, 3), uint8.
    """
    picture = np.ascontiguousarray(image).copy()
    height, width = picture.shape[:2]
    line = max(1, round(font_size(height, width) / 8))
    classes = full_palette(palette, max([len(names), *(label + 1 for label in labels)]))
    colors = [classes[label] for label in labels]
    for i in reversed(range(len(boxes))):
        if masks is not None:
            _draw_mask(picture, masks[i], colors[i], opacity, line)
        x1, y1, x2, y2 = _clip_box(boxes[i], height, width)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colors[i], line)
    written = Image.fromarray(picture)
    writer = LabelWriter(written)
    for i, label in enumerate(labels):
        text = writer.fit(class_name(names, label), '' if scores is None else f'{scores[i]:.2f}')
        if text is not None:
            x1, y1, x2, y2 = _clip_box(boxes[i], height, width)
            rows = (y1 - writer.line_height, y1, y2 - writer.line_height, y2)  # above, inside, inside, below
            columns = (x1, x2 - writer.width(text))
            writer.write(text, [(x, y) for x in columns for y in rows if writer.has_row(y)] or [(x1, y1)], colors[i])
    return np.asarray(written)


def draw_regions(
    image: np.ndarray, class_map: np.ndarray, names: Sequence[str], palette: Sequence[Color], opacity: float = 0.45
) -> np.ndarray:
    """Draw the regions of a label map in the colors of their classes, and the name of a class in its largest region.

    A background class keeps the colors of the image. The name of a small region is left out where it would cover
    another one.

    Args:
        image: RGB (H, W, 3), uint8; not changed.
        class_map: (H, W), integers; labels outside ``names``, such as 255 for ignored pixels, are not drawn.
        names: Class names.
        palette: RGB color per class.
        opacity: Of the regions, from 0 to 1.

    Returns:
        RGB (H, W, 3), uint8.
    """
    labels, counts = np.unique(class_map, return_counts=True)
    shown = [
        int(label)
        for label in labels[np.argsort(-counts, kind='stable')]
        if 0 <= label < len(names) and names[label].lower() not in _BACKGROUND_NAMES
    ]
    picture = np.ascontiguousarray(image).copy()
    for label in shown:
        _tint(picture, class_map == label, palette[label], opacity)
    written = Image.fromarray(picture)
    writer = LabelWriter(written)
    for label in shown:
        text = writer.fit(names[label])
        if text is not None:
            x, y = _center(class_map == label)
            left, top, step = x - writer.width(text) / 2, y - writer.line_height / 2, writer.line_height
            writer.write(text, [(left, top + shift * step) for shift in (0, -1, 1, -2, 2)], palette[label])
    return np.asarray(written)


def draw_classes(image: np.ndarray, lines: Sequence[tuple[str, float]]) -> np.ndarray:
    """Write classes and their scores in the top left corner, one per line, as many as have room.

    Args:
        image: RGB (H, W, 3), uint8; not changed.
        lines: Class name and score, the likeliest first.

    Returns:
        RGB (H, W, 3), uint8.
    """
    written = Image.fromarray(np.ascontiguousarray(image).copy())
    writer = LabelWriter(written)
    for row, (name, score) in enumerate(lines):
        text = writer.fit(name, f'{score:.2f}')
        if text is None or (row and (row + 1) * writer.line_height > written.height):
            break
        writer.write(text, [(0, row * writer.line_height)], _PLATE)
    return np.asarray(written)


def draw_heat(image: np.ndarray, heat: np.ndarray, point: tuple[float, float] | None = None) -> np.ndarray:
    """Lay a heat map over an image in shades of gray, darker where there is no heat, and mark a point with a cross.

    Args:
        image: RGB (H, W, 3), uint8; not changed.
        heat: (h, w) in [0, 1], stretched to the image.
        point: Column and row (x, y), in pixels of the image.

    Returns:
        RGB (H, W, 3), uint8.
    """
    height, width = image.shape[:2]
    heat = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    colors = matplotlib.colormaps['inferno'](heat)[..., :3] * 255
    share = (0.4 + 0.4 * heat)[..., None]
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    picture = np.round(gray * (1 - share) + colors * share).astype(np.uint8)
    if point is not None:
        center = round(point[0]), round(point[1])
        size = max(6, min(height, width) // 24)
        for color, line in (((0, 0, 0), 3), ((0, 255, 255), 1)):  # cyan, which the colors of the heat lack, on black
            cv2.drawMarker(picture, center, color, cv2.MARKER_CROSS, size, line)
    return picture


def _clip_box(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the pixels of a box's corners, the last ones included, within the image."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return (
        int(min(max(x1, 0), width - 1)),
        int(min(max(y1, 0), height - 1)),
        int(min(max(x2 - 1, 0), width - 1)),
        int(min(max(y2 - 1, 0), height - 1)),
    )


def _draw_mask(picture: np.ndarray, mask: np.ndarray, color: Color, opacity: float, line: int) -> None:
    """Tint a mask (H, W) and draw its outline, which tells apart objects of one class."""
    _tint(picture, mask, color, opacity)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, color, line)


def _tint(picture: np.ndarray, mask: np.ndarray, color: Color, opacity: float) -> None:
    """Blend a color into the pixels of a mask (H, W), in place."""
    blended = picture[mask] * (1 - opacity) + np.array(color) * opacity
    picture[mask] = np.round(blended).astype(np.uint8)


def _center(mask: np.ndarray) -> tuple[int, int]:
    """Return the pixel (x, y) of the largest connected part of a mask that is farthest from its edge."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    # The border of the picture counts as an edge, so that labels do not stick to it.
    inside = np.pad((parts == largest).astype(np.uint8), 1)
    distances = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distances.argmax()), distances.shape)
    return int(x), int(y)
