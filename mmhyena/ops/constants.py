"""Tensors that depend on Python numbers alone: made once for each device and type, never in a warm forward."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from mmhyena.ops.mode import is_dynamo_compiling, is_ordinary

__all__ = ['constant']

# How many are kept. They are made by numpy, whose arrays are not traced: an exported graph takes them as constants.
MAX_ENTRIES = 256

_values: OrderedDict[tuple, Tensor] = OrderedDict()
_lock = Lock()


def constant(make: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """Turn ``make(*numbers)``, an array, into a function of the same arguments, ``device`` and ``dtype``.

    It returns the array as a tensor there, the same one at every call. It is no inference tensor, so it may take part
    in a later backward.
    """

    @wraps(make)
    def on_device(*args: int, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        if is_dynamo_compiling():  # which traces numpy, and only does so here to export
            return torch.from_numpy(make(*args)).to(device, dtype)
        args = tuple(map(int, args))  # torch.jit.trace makes tensors of sizes
        key = (make.__module__, make.__name__, args, device, dtype)
        with _lock:
            if key in _values:
                _values.move_to_end(key)
                return _lift(_values[key])
        with torch.inference_mode(False), torch.no_grad():
            array = make(*args)
            if dtype in (torch.float32, torch.float64):  # converted here: under tracing, tensors would become fake
                array = array.astype(np.float32 if dtype == torch.float32 else np.float64)
            tensor = _lift(torch.from_numpy(np.ascontiguousarray(array)))
            if device.type != 'cpu' or dtype not in (None, tensor.dtype):
                tensor = tensor.to(device, dtype)
        if is_ordinary(tensor):
            with _lock:
                _values[key] = tensor
                while len(_values) > MAX_ENTRIES:
                    _values.popitem(last=False)
        return tensor

    return on_device


# What torch.tensor() does to its result: fake under FakeTensorMode, a constant of the graph under tracing.
_lift = torch.ops.aten.lift_fresh
