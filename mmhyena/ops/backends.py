"""Which form of the long convolution serves which map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

import torch

from mmhyena.ops.mode import is_compiling, is_exporting

__all__ = ['BACKENDS', 'choose_backend', 'current_backend', 'use_backend']

BACKENDS = ('fft', 'dft', 'direct')

_override: ContextVar[str | None] = ContextVar('mmhyena_long_conv_backend', default=None)

# Pixels up to which the FFT is not the fastest on a CPU: with a prepared kernel the sum itself is, and with gradients
# transforms as matrix products are (docs/performance.md).
SMALL_PIXELS = 400


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
    if is_compiling() or device.type != 'cpu' or len(spatial) != 2 or prod(spatial) > SMALL_PIXELS:
        return 'fft'
    return 'direct' if prepared else 'dft'


def current_backend() -> str | None:
    """Return the backend that :func:`use_backend` names, or None outside of it."""
    return _override.get()


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
