"""The backends of the long convolution as data, and which of them serves a feature map.

Each backend says in one function whether it can serve a case, with the reason if it cannot, and in another what it
costs. The cheapest that can serve is taken. One that was asked for and cannot serve is passed over with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

from mmhyena.ops import dft, direct, fft, subq
from mmhyena.ops.geometry import ConvCase
from mmhyena.ops.mode import is_compiling
from mmhyena.ops.triton import gated_conv

__all__ = ['BACKENDS', 'Backend', 'choose_backend', 'current_backend', 'use_backend']

logger = logging.getLogger('mmhyena')


class Backend(NamedTuple):
    """One way to compute the long convolution.

    Attributes:
        reason: Why it cannot serve a case, or None if it can.
        cost: Estimated nanoseconds per image and channel, comparable between the backends of one device.
        conv: Convolves ``u`` ``(B, C, *spatial)`` with a kernel ``(C, *kernel)`` cropped to ``axes``; differentiable.
        kernel: Transforms such a kernel for maps of one size.
        conv_prepared: Convolves with a transformed kernel.
        keeps_dtype: Whether it takes the map in its own type; float32 or float64 otherwise.
        fuses_gates: Whether both convolutions take gates ``pre`` and ``post`` of the shape of ``u``.
    """

    reason: Callable[[ConvCase], str | None]
    cost: Callable[[ConvCase], float]
    conv: Callable[..., Tensor]
    kernel: Callable[..., Tensor]
    conv_prepared: Callable[..., Tensor]
    keeps_dtype: bool = False
    fuses_gates: bool = False


def _direct_kernel(k: Tensor, axes: tuple, spatial: tuple) -> Tensor:
    return direct.direct_kernel(k, axes).contiguous()


BACKENDS: dict[str, Backend] = {
    'fft': Backend(fft.reason, fft.cost, fft.fft_conv, fft.fft_kernel, fft.fft_conv_prepared),
    'dft': Backend(dft.reason, dft.cost, dft.dft_conv, dft.dft_kernel, dft.dft_conv_prepared),
    'direct': Backend(direct.reason, direct.cost, direct.direct_conv, _direct_kernel, direct.direct_conv_prepared),
    'triton': Backend(
        gated_conv.reason,
        gated_conv.cost,
        gated_conv.triton_conv,
        gated_conv.triton_kernel,
        gated_conv.triton_conv_prepared,
        keeps_dtype=True,
        fuses_gates=True,
    ),
    'subq': Backend(
        subq.reason, subq.cost, subq.subq_conv, subq.subq_kernel, subq.subq_conv_prepared, keeps_dtype=True
    ),
}

# Of the whole process, as torch's own backend flags are: a variable of the module is what torch.compile guards on.
_override: str | None = None
_logged: set[tuple[str, str]] = set()


def choose_backend(case: ConvCase, override: str | None = None) -> str:
    """Return the name of the backend for ``case``.

    ``override``, or else the one of :func:`use_backend`, if it can serve; the cheapest that can serve otherwise.

    Raises:
        ValueError: If there is no backend of that name.
    """
    wanted = override or _override
    if wanted is not None:
        _check(wanted)
        reason = BACKENDS[wanted].reason(case)
        if reason is None:
            return wanted
        _log_once(logging.WARNING, wanted, reason)
    best, lowest = 'direct', float('inf')  # the one that serves every case
    for name, backend in BACKENDS.items():
        reason = backend.reason(case)
        if reason is None:
            cost = backend.cost(case)
            if cost < lowest:
                best, lowest = name, cost
        elif case.device.type == 'cuda':
            _log_once(logging.INFO, name, reason)
    return best


def _check(name: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f'backend {name!r} is unknown; choose one of {", ".join(BACKENDS)}')


def _log_once(level: int, name: str, reason: str) -> None:
    if not is_compiling() and (name, reason) not in _logged:
        _logged.add((name, reason))
        logger.log(level, 'long convolution: backend %r is not used here: %s', name, reason)


def current_backend() -> str | None:
    """Return the backend that :func:`use_backend` names, or None outside of it."""
    return _override


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Use one backend for all long convolutions within the ``with`` block that it can serve, in the whole process.

    A compiled model is compiled again for another backend.

    Raises:
        ValueError: If there is no backend of that name.
    """
    global _override
    _check(name)
    previous, _override = _override, name
    try:
        yield
    finally:
        _override = previous
