"""Kernels made once per version of the weights, when no gradient reaches the weights."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

__all__ = ['TensorCache', 'tensors_of']

Value = TypeVar('Value')


class _Snapshot:
    """Some tensors as they are now: which they are, and on the CPU the bytes in their memory.

    Bytes are compared in a fraction of the time that ``torch.equal`` takes, NaN included. They are read at their
    address, since a view by ``Tensor.numpy`` would keep the storage from ever being resized.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._identity = self._identify(tensors)
        self._owners = [tensor.detach() for tensor in tensors]  # nothing else can come to lie at their addresses
        memories = [_memory(tensor) for tensor in tensors if tensor.device.type == 'cpu' and tensor.data_ptr()]
        self._bytes = [(memory, bytearray(memory)) for memory in memories]

    def matches(self, tensors: Sequence[Tensor]) -> bool:
        """Whether ``tensors`` are the same ones, unchanged."""
        return self._identity == self._identify(tensors) and all(copy == memory for memory, copy in self._bytes)

    @staticmethod
    def _identify(tensors: Sequence[Tensor]) -> list[tuple]:
        return [
            (t.data_ptr(), t.shape, t.stride(), t.device, t.dtype, 0 if t.is_inference() else t._version)
            for t in tensors
        ]


def _memory(tensor: Tensor) -> ctypes.Array:
    """Return the bytes from the first to the last element of ``tensor``, as they are at any time."""
    elements = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return (ctypes.c_char * (elements * tensor.element_size())).from_address(tensor.data_ptr())


class TensorCache(Generic[Value]):
    """Values derived from some tensors, forgotten as soon as one of the tensors changes.

    A change is seen by the tensor's address, layout, device, type and version counter. Writes through ``tensor.data``
    do not count up the version, and MMEngine's EMA hook swaps weights that way, so tensors on the CPU are also
    compared with a copy. On other devices that would stall the queue: there, ``module.train()`` and ``module.eval()``,
    which every loop calls after such a swap, clear the cache (see :class:`~mmhyena.layers.long_conv.LongConv`).

    The cache holds nothing after a copy or a pickle, and threads may share it.

    Args:
        capacity: How many values are kept, the most recently used ones.
    """

    def __init__(self, capacity: int = 4) -> None:
        self.capacity = capacity
        self._state: tuple[_Snapshot, OrderedDict] | None = None
        self._lock = Lock()

    def clear(self) -> None:
        """Forget everything."""
        self._state = None

    def __deepcopy__(self, memo: dict) -> TensorCache:
        return type(self)(self.capacity)

    def __reduce__(self) -> tuple:
        return type(self), (self.capacity,)

    def get(self, key: object, sources: Iterable[Tensor], make: Callable[[], Value]) -> Value:
        """Return the value of ``key``, calling ``make`` if it is not known for the present ``sources``."""
        sources = list(sources)
        state = self._state
        if state is None or not state[0].matches(sources):
            self._state = state = _Snapshot(sources), OrderedDict()
        values = state[1]
        with self._lock:
            if key in values:
                values.move_to_end(key)
                return values[key]
        # Outside inference mode, whose tensors could not take part in a later backward.
        with torch.inference_mode(False), torch.no_grad():
            value = make()
        with self._lock:
            values[key] = value
            while len(values) > self.capacity:
                values.popitem(last=False)
        return value


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Return all parameters and buffers of ``module``; a tenth of the time of ``parameters()``, which builds names."""
    tensors, modules = [], [module]
    while modules:
        current = modules.pop()
        tensors += [t for t in current._parameters.values() if t is not None]
        tensors += [t for t in current._buffers.values() if t is not None]
        modules += [m for m in current._modules.values() if m is not None]
    return tensors
