"""Labels on a picture: their font, their size and their place."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from mmhyena.visualization.colors import Color, text_color

__all__ = ['LabelWriter', 'font_size']

_SMALLEST, _LARGEST = 11, 72

Box = tuple[int, int, int, int]


def font_size(height: int, width: int) -> int:
    """Return the font size in pixels for a picture: in proportion to its side, and never too small to be read."""
    return min(max(round(0.018 * (height * width) ** 0.5), _SMALLEST), _LARGEST)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')), size)


class LabelWriter:
    """Writes labels on a picture so that they lie within its border and do not cover one another.

    Args:
        image: An RGB picture, drawn on in place.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        size = font_size(image.height, image.width)
        self._font = _font(size)
        self._draw = ImageDraw.Draw(image)
        self._padding = max(2, size // 6)
        ascent, descent = self._font.getmetrics()
        self._ascent = ascent
        self.line_height = ascent + descent + self._padding  # half a padding above and half below
        self._taken: list[Box] = []

    def fit(self, name: str, score: str = '') -> str | None:
        """Return name and score as one line that is not wider than the picture; a long name is shortened.

        Returns:
            The line, or None if not even one letter and the score have room.
        """
        room = self.image.width - 2 * self._padding
        for length in range(len(name), 0, -1):
            short = name if length == len(name) else f'{name[:length].rstrip()}…'
            line = f'{short} {score}'.rstrip()
            if self._font.getlength(line) <= room:
                return line
        return None

    def write(self, line: str, corners: Iterable[tuple[float, float]], color: Color) -> bool:
        """Write a line at the first of ``corners`` where it covers no other label, or not at all.

        Args:
            line: From :meth:`fit`.
            corners: Where the top left corner of the label may be (x, y); moved into the picture.
            color: Of the label's background.

        Returns:
            Whether the label was written.
        """
        boxes = (self._box(line, x, y) for x, y in corners)
        box = next((box for box in boxes if not any(_overlap(box, other) for other in self._taken)), None)
        if box is None:
            return False
        self._taken.append(box)
        left, top, right, bottom = box
        self._draw.rectangle((left, top, right - 1, bottom - 1), fill=color)
        self._draw.text(
            (left + self._padding, top + self._padding // 2 + self._ascent), line, text_color(color), self._font, 'ls'
        )
        return True

    def width(self, line: str) -> int:
        """Return how wide the label of a line is, in pixels."""
        return int(self._font.getlength(line)) + 1 + 2 * self._padding

    def has_row(self, top: float) -> bool:
        """Whether a label whose top edge is at ``top`` lies within the picture."""
        return 0 <= top <= self.image.height - self.line_height

    def _box(self, line: str, x: float, y: float) -> Box:
        width = self.width(line)
        left = max(0, min(round(x), self.image.width - width))
        top = max(0, min(round(y), self.image.height - self.line_height))
        return left, top, left + width, top + self.line_height


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
