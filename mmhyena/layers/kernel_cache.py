"""Kernels made once per version of the weights, when no gradient reaches the weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import torch
from torch import Tensor

__all__ = ['TensorCache']

Value = TypeVar('Value')


class TensorCache(Generic[Value]):
    """Values derived from some tensors, forgotten as soon as one of the tensors changes.

    A change is seen by the tensor's address, device, type and version counter. Writes through ``tensor.data`` do not
    count up the version, and MMEngine's EMA hook swaps weights that way, so tensors on the CPU are also compared with
    a copy. On other devices that would stall the queue: there, ``module.train()`` and ``module.eval()``, which every
    loop calls after such a swap, clear the cache (see :class:`~mmhyena.layers.long_conv.LongConv`).

    The cache holds nothing after a copy or a pickle, and threads may share it: an entry is written in one assignment
    and read through a local name.

    Args:
        capacity: How many values are kept, the most recently used ones.
    """

    def __init__(self, capacity: int = 8) -> None:
        self.capacity = capacity
        self._state: tuple[tuple, list[Tensor], OrderedDict] | None = None

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
        if state is None or not self._is_current(state, sources):
            copies = [source.detach().clone() for source in sources if source.device.type == 'cpu']
            state = (self._version(sources), copies, OrderedDict())
            self._state = state
        values = state[2]
        if (value := values.get(key)) is None:
            # Outside inference mode, whose tensors could not take part in a later backward.
            with torch.inference_mode(False), torch.no_grad():
                value = make()
            values[key] = value
            while len(values) > self.capacity:
                values.popitem(last=False)
        return value

    @staticmethod
    def _version(sources: list[Tensor]) -> tuple:
        return tuple((s.data_ptr(), s.device, s.dtype, 0 if s.is_inference() else s._version) for s in sources)

    def _is_current(self, state: tuple, sources: list[Tensor]) -> bool:
        if state[0] != self._version(sources):
            return False
        on_cpu = [source for source in sources if source.device.type == 'cpu']
        return all(torch.equal(source, copy) for source, copy in zip(on_cpu, state[1]))
