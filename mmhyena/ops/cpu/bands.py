"""Working through a large map band by band, so that the widest maps in between are never whole.

The projection of a Hyena mixer to three times the channels and the short convolution behind it make its widest maps.
The C library gives such memory back to the system when a map is freed, or maps it anew from 32 MiB on, and clearing its
pages again takes as long as the work itself. A band fits into memory that was used before, and into the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

from torch import Tensor

from mmhyena.ops.mode import autocast_dtype, records_nothing

__all__ = ['map_bands', 'needs_bands', 'row_bands']

# Elements beyond which a map is worked on in bands, and elements of a band (docs/performance.md).
LARGE = 2**22
BAND = 2**20


def needs_bands(x: Tensor, width: int) -> bool:
    """Whether a map ``x`` ``(B, *spatial, C)`` had better not be made ``width`` channels wide as a whole."""
    large = x.device.type == 'cpu' and prod(x.shape[:-1]) * width > LARGE
    return large and records_nothing() and autocast_dtype(x) is None


def row_bands(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views ``(1, rows, ..., C)`` of the same rows of maps ``(B, rows, ..., C)``, in bands."""
    rows = max(1, BAND // prod(maps[0].shape[2:]))
    for images in zip(*(x.split(1) for x in maps)):
        yield from zip(*(image.split(rows, dim=1) for image in images))


def map_bands(
    x: Tensor,
    widen: Callable[[Tensor], Tensor],
    reduce: Callable[[Tensor], Sequence[Tensor]],
    width: int,
    reach: int = 0,
) -> list[Tensor]:
    """Return ``reduce(pad(widen(x)))`` computed in bands, where ``pad`` puts ``reach`` rows of zeros on both sides.

    Args:
        x: Map ``(B, rows, ..., C)``.
        widen: Maps rows ``(n, ..., C)`` to ``(n, ..., width)``.
        reduce: Maps ``(1, n + 2 * reach, ..., width)`` to tensors of ``(1, n, ..., *)``; each row is made from that row
            and ``reach`` others on both sides.
        width: Channels in between.
        reach: How far a row reads.

    Returns:
        Tensors ``(B, rows, ..., *)``.
    """
    rows = max(2 * reach, 1, BAND // (prod(x.shape[2:-1]) * width))
    outs: list[Tensor] = []
    for i, image in enumerate(x):
        for top, band in _bands(image, widen, width, reach, rows):
            parts = reduce(band[None])
            outs = outs or [part.new_empty(*x.shape[:-1], part.shape[-1]) for part in parts]
            for out, part in zip(outs, parts):
                out[i, top : top + part.shape[1]] = part[0]
    return outs


def _bands(
    image: Tensor, widen: Callable[[Tensor], Tensor], width: int, reach: int, rows: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row of each band and the widened rows around it, in memory that the next band uses again."""
    height, both = image.shape[0], 2 * reach
    buffer = image.new_empty(rows + both, *image.shape[1:-1], width)  # row 0 is row top - reach of the image
    buffer[:both] = 0
    done = 0
    for top in range(0, height, rows):
        if top:
            buffer[:both] = buffer[rows:]
        bottom = min(top + rows, height)
        stop = min(bottom + reach, height)
        if stop > done:
            buffer[done - top + reach : stop - top + reach] = widen(image[done:stop])
            done = stop
        band = buffer[: bottom - top + both]
        band[done - top + reach :] = 0
        yield top, band
