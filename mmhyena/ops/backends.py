"""Which form of the long convolution serves which map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

import torch

from .mode import is_compiling, is_exporting

__all__ = ['BACKENDS', 'choose_backend', 'use_backend']

BACKENDS = ('fft', 'dft', 'direct')

_override: ContextVar[str | None] = ContextVar('mmhyena_long_conv_backend', default=None)

# Pixels up to which the sum itself, or transforms as matrix products, beat the FFT on a CPU with a prepared kernel
# (docs/performance.md).
DIRECT_PIXELS = 64
DFT_PIXELS = 512


def choose_backend(spatial: Sequence[int], device: torch.device, prepared: bool, override: str | None = None) -> str:
    """Return the backend for maps of size ``spatial``.

    The first that applies: ``override``; the one of :func:`use_backend`; ``'dft'`` while a model is being exported,
    since no exchange format has the FFT; the measured rule.

    Args:
        spatial: Size of the map.
        device: Where it lies.
        prepared: Whether the kernel is transformed beforehand, so that no gradient reaches it.
        override: Name of a backend.

    Raises:
        ValueError: If there is no such backend.
    """
    if not is_compiling():
        override = override or _override.get()
    if override is not None:
        if override not in BACKENDS:
            raise ValueError(f'backend {override!r} is unknown; choose one of {", ".join(BACKENDS)}')
        return override
    if is_exporting():
        return 'dft'
    if not prepared or device.type != 'cpu' or len(spatial) != 2:
        return 'fft'
    pixels = prod(spatial)
    return 'direct' if pixels <= DIRECT_PIXELS else 'dft' if pixels <= DFT_PIXELS else 'fft'


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Use one backend for all long convolutions within the ``with`` block, in this thread.

    Raises:
        ValueError: If there is no such backend.
    """
    if name not in BACKENDS:
        raise ValueError(f'backend {name!r} is unknown; choose one of {", ".join(BACKENDS)}')
    token = _override.set(name)
    try:
        yield
    finally:
        _override.reset(token)
