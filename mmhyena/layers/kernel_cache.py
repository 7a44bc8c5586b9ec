"""Kernels kept while their weights do not change, bounded in bytes over the whole process."""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from mmhyena.ops import is_ordinary

__all__ = [
    'DEFAULT_LIMIT',
    'KernelCache',
    'kernel_cache_bytes',
    'set_kernel_cache_limit',
    'tensors_of',
    'unlimited_kernel_cache',
]

Value = TypeVar('Value')

# One map size of the largest model at the resolution of detection: hpx_former_b36 at 800 x 1344 pixels takes 0.8 GiB.
DEFAULT_LIMIT = 2**30


class _Entry(NamedTuple):
    value: Any
    size: int


class _Store:
    """Least recently used values of all caches, those that are cheap to make again leaving first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.lock = RLock()  # reentrant: the garbage collector may drop a cache while an entry is added
        self._cheap: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._costly: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        with self.lock:
            for entries in (self._cheap, self._costly):
                if key in entries:
                    entries.move_to_end(key)
                    return entries[key].value
        return None

    def put(self, key: Hashable, value: Any, is_costly: bool) -> None:
        size = int(sum(tensor.numel() * tensor.element_size() for tensor in _tensors_in(value)))
        with self.lock:
            self.drop([key])
            (self._costly if is_costly else self._cheap)[key] = _Entry(value, size)
            self.size += size
            self.shrink()

    def shrink(self) -> None:
        with self.lock:
            while self.size > self.limit:
                _, entry = (self._cheap or self._costly).popitem(last=False)
                self.size -= entry.size

    def drop(self, keys: Sequence[Hashable]) -> None:
        with self.lock:
            for key in keys:
                for entries in (self._cheap, self._costly):
                    if key in entries:
                        self.size -= entries.pop(key).size


_store = _Store(DEFAULT_LIMIT)
_tokens = count()


def set_kernel_cache_limit(limit: int) -> None:
    """Set how many bytes the kernels that are kept for evaluation may take, over all models of the process.

    The default is 1 GiB. Kernels that do not fit are made again when they are needed; 0 keeps none.

    Raises:
        ValueError: If ``limit`` is negative.
    """
    if limit < 0:
        raise ValueError(f'the limit of the kernel cache must not be negative, got {limit}')
    _store.limit = limit
    _store.shrink()


@contextmanager
def unlimited_kernel_cache() -> Iterator[None]:
    """Drop no kernel within the ``with`` block, whatever they take: an exported graph needs all of them at once."""
    limit, _store.limit = _store.limit, sys.maxsize
    try:
        yield
    finally:
        set_kernel_cache_limit(limit)


def kernel_cache_bytes() -> int:
    """Return how many bytes are kept at the moment, over all models of the process."""
    return _store.size


class _Version:
    """Some tensors as they are now: which they are, and how often each was written to."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._identity = self._identify(tensors)
        self._owners = [tensor.detach() for tensor in tensors]  # nothing else can come to lie at their addresses

    def matches(self, tensors: Sequence[Tensor]) -> bool:
        """Whether ``tensors`` are the same ones, unchanged."""
        return self._identity == self._identify(tensors)

    def is_current(self) -> bool:
        """Whether the tensors themselves were not written to since."""
        return self._identity == self._identify(self._owners)

    @staticmethod
    def _identify(tensors: Sequence[Tensor]) -> list[tuple]:
        return [
            (t.data_ptr(), t.shape, t.stride(), t.device, t.dtype, 0 if t.is_inference() else t._version)
            for t in tensors
        ]


class KernelCache:
    """Values derived from some tensors, forgotten as soon as one of the tensors changes.

    A change is seen by the tensor's address, layout, device, type and version counter, on every device alike. Writes
    through ``tensor.data`` do not count up the version; who writes so, as MMEngine's EMA hook does when it swaps
    weights, calls ``train()`` or ``eval()`` afterwards, which clears the cache
    (:class:`~mmhyena.layers.long_conv.LongConv`).

    All caches share one bound, see :func:`set_kernel_cache_limit`. A copy or a pickle of a cache is empty, threads may
    share it, and tensors without data of their own (fake, meta, mapped by ``torch.func``) are never kept.
    """

    def __init__(self) -> None:
        self._version: _Version | None = None
        self._token = next(_tokens)
        self._keys: set[Hashable] = set()
        weakref.finalize(self, _drop, self._keys).atexit = False

    def clear(self) -> None:
        """Forget everything."""
        self._version = None
        _drop(self._keys)

    def __deepcopy__(self, memo: dict) -> KernelCache:
        return type(self)()

    def __reduce__(self) -> tuple:
        return type(self), ()

    def get(
        self, key: Hashable, sources: Sequence[Tensor], make: Callable[[], Value], *, is_costly: bool = False
    ) -> Value:
        """Return the value of ``key``, calling ``make`` if it is not known for the present ``sources``.

        Args:
            key: Name of the value in this cache.
            sources: The tensors that it is derived from.
            make: Makes it: a tensor, or a tuple or list of values. It runs without gradients and outside inference
                mode, whose tensors could not take part in a later backward.
            is_costly: Whether it stays until all values that are not costly have left.
        """
        if not all(map(is_ordinary, sources)):
            return _make(make)
        version = self._version
        if version is None or not version.matches(sources):
            self.clear()
            self._version = version = _Version(sources)
        value = _store.get((self._token, key))
        if value is None:
            value = _make(make)
            if all(map(is_ordinary, _tensors_in(value))) and self._version is version:
                self._keys.add((self._token, key))
                _store.put((self._token, key), value, is_costly)
        return value

    def peek(self, key: Hashable) -> Any:
        """Return the value of ``key`` if it is known and the tensors that it was made from are unchanged, else None."""
        if self._version is None or not self._version.is_current():
            return None
        return _store.get((self._token, key))


def _make(make: Callable[[], Value]) -> Value:
    with torch.inference_mode(False), torch.no_grad():
        return make()


def _drop(keys: set[Hashable]) -> None:
    _store.drop(list(keys))
    keys.clear()


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in _tensors_in(item)] if isinstance(value, (tuple, list)) else []


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Return all parameters and buffers of ``module``; a tenth of the time of ``parameters()``, which builds names."""
    tensors: list[Tensor] = []
    modules = [module]
    while modules:
        current = modules.pop()
        tensors += [t for t in current._parameters.values() if t is not None]
        tensors += [t for t in current._buffers.values() if t is not None]
        modules += [m for m in current._modules.values() if m is not None]
    return tensors
