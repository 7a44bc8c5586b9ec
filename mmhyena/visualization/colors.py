"""Colors of classes."""

from __future__ import annotations

import colorsys
from typing import Any

__all__ = ['Color', 'full_palette', 'text_color']

Color = tuple[int, int, int]


def full_palette(palette: Any, count: int) -> tuple[Color, ...]:
    """Return ``palette`` if it has a color for each of ``count`` classes, else evenly spread hues.

    Args:
        palette: RGB colors in [0, 255]; anything but a list or tuple (mmdet's 'random', None) counts as none.
        count: Number of classes.
    """
    if not isinstance(palette, (list, tuple)) or len(palette) < count:
        # Multiples of the golden ratio: classes with neighboring numbers are far apart in hue.
        hues = (i * 0.618 % 1.0 for i in range(count))
        palette = [[255 * part for part in colorsys.hsv_to_rgb(hue, 0.75, 0.9)] for hue in hues]
    return tuple((int(red), int(green), int(blue)) for red, green, blue in palette[:count])


def text_color(background: Color) -> Color:
    """Return black or white, whichever is easier to read on ``background`` (luma of ITU-R BT.601)."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
