"""Processing a large feature map in tiles of rows, so that the widest intermediate results never exist as a whole.

The projection of a Hyena mixer to three times the channels and the short convolution after it make the widest tensors
of a forward. The C library returns such memory to the system when a tensor is freed, or maps it anew from 32 MiB on,
and clearing its pages again takes as long as the work itself. A tile fits into memory that was used before, and into
the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

from torch import Tensor

__all__ = ['map_tiles', 'needs_tiles', 'row_tiles']

# Elements from which an intermediate result is processed in tiles, and elements of a tile (docs/performance.md).
LARGE = 2**22
TILE = 2**20


def needs_tiles(x: Tensor, width: int) -> bool:
    """Whether to process ``x`` ``(B, *spatial, C)`` in tiles, given that it becomes ``width`` channels wide."""
    return prod(x.shape[:-1]) * width > LARGE


def row_tiles(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views ``(1, n, ..., C)`` of the same rows of all tensors ``(B, rows, ..., C)``, tile by tile."""
    rows = max(1, TILE // prod(tensors[0].shape[2:]))
    for images in zip(*(x.split(1) for x in tensors)):
        yield from zip(*(image.split(rows, dim=1) for image in images))


def map_tiles(
    x: Tensor,
    widen: Callable[[Tensor], Tensor],
    reduce: Callable[[Tensor], Sequence[Tensor]],
    width: int,
    reach: int = 0,
) -> list[Tensor]:
    """Return ``reduce(pad(widen(x)))`` computed in tiles, where ``pad`` adds ``reach`` rows of zeros on both sides.

    Args:
        x: Feature map ``(B, rows, ..., C)``.
        widen: Turns rows ``(n, ..., C)`` into ``(n, ..., width)``.
        reduce: Turns ``(1, n + 2 * reach, ..., width)`` into tensors ``(1, n, ..., *)``; a row of them depends on the
            same row and on ``reach`` rows on both sides.
        width: Channels of the widened rows.
        reach: How many rows ``reduce`` looks up and down.

    Returns:
        Tensors ``(B, rows, ..., *)``.
    """
    rows = max(2 * reach, 1, TILE // (prod(x.shape[2:-1]) * width))
    outs: list[Tensor] = []
    for i, image in enumerate(x):
        for top, tile in _wide_tiles(image, widen, width, reach, rows):
            parts = reduce(tile[None])
            outs = outs or [part.new_empty(*x.shape[:-1], part.shape[-1]) for part in parts]
            for out, part in zip(outs, parts):
                out[i, top : top + part.shape[1]] = part[0]
    return outs


def _wide_tiles(
    image: Tensor, widen: Callable[[Tensor], Tensor], width: int, reach: int, rows: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row of each tile and the widened rows around it, in a buffer that the next tile reuses."""
    height, both = image.shape[0], 2 * reach
    first = widen(image[: min(rows + reach, height)])
    buffer = first.new_empty(rows + both, *image.shape[1:-1], width)  # row 0 is row top - reach of the image
    buffer[:both] = 0
    done = 0
    for top in range(0, height, rows):
        if top:
            buffer[:both] = buffer[rows:]
        bottom = min(top + rows, height)
        stop = min(bottom + reach, height)
        if stop > done:
            buffer[done - top + reach : stop - top + reach] = widen(image[done:stop]) if done else first
            done = stop
        tile = buffer[: bottom - top + both]
        tile[done - top + reach :] = 0
        yield top, tile
