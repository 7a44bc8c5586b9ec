"""bfloat16 at inference: which processors compute in it, and a model's forward under autocast."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

__all__ = ['bfloat16_units', 'use_bfloat16']

_CPUINFO = Path('/proc/cpuinfo')
# Flags in /proc/cpuinfo of instructions that multiply in bfloat16.
_UNITS = {'amx_bf16': 'AMX', 'avx512_bf16': 'AVX512-BF16', 'bf16': 'BF16 (Arm)'}
_HALF = (torch.bfloat16, torch.float16)


def bfloat16_units() -> list[str]:
    """Return the names of this processor's units that multiply in bfloat16, as far as Linux lists them."""
    if not _CPUINFO.is_file():
        return []
    flags: set[str] = set()
    for line in _CPUINFO.read_text().splitlines():
        name, _, value = line.partition(':')
        if name.strip() in ('flags', 'Features'):
            flags.update(value.split())
    return [unit for flag, unit in _UNITS.items() if flag in flags]


def use_bfloat16(model: nn.Module, device: str | torch.device) -> None:
    """Run ``model(...)`` under bfloat16 autocast from now on, in place, and log what the processor gains by it.

    Long convolutions, norms and the pooling of regions stay in float32, and predictions are returned in float32, as
    evaluators and :mod:`numpy` take them.

    Args:
        model: A classifier, detector or segmentor, not its wrapper for data-parallel runs or test-time augmentation.
        device: Where it runs.
    """
    kind = torch.device(device).type
    print_log(f'bfloat16: {_expectation(kind)}', logger='current')
    model.forward = _in_float32_outside(model.forward, kind)  # type: ignore[method-assign]
    for module in model.modules():
        # mmdet rounds boxes to the type of the feature map, which leaves 8 bits for a coordinate.
        if hasattr(module, 'roi_layers'):
            module.forward = _without_autocast(module.forward, kind)  # type: ignore[method-assign]


def _expectation(kind: str) -> str:
    if kind != 'cpu':
        return f'autocast on {kind}'
    if units := bfloat16_units():
        return f'autocast on a CPU with {" and ".join(units)}'
    return 'this CPU has neither AMX nor AVX512-BF16: it works, but is likely slower than float32'


def _in_float32_outside(forward: Any, kind: str) -> Any:
    """Return ``forward`` under autocast, with results in float32."""

    @functools.wraps(forward)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(kind, dtype=torch.bfloat16):
            result = forward(*args, **kwargs)
        return _to_float32(result)

    return wrapped


def _without_autocast(forward: Any, kind: str) -> Any:
    """Return ``forward`` in float32."""

    @functools.wraps(forward)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(kind, enabled=False):
            return forward(*_to_float32(args), **_to_float32(kwargs))

    return wrapped


def _to_float32(value: Any) -> Any:
    """Return ``value`` with all half-precision tensors in it in float32; data samples change in place."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _HALF else value
    if isinstance(value, BaseDataElement):
        for name, field in value.items():
            if (converted := _to_float32(field)) is not field:
                setattr(value, name, converted)
        return value
    if isinstance(value, Mapping):
        return {key: _to_float32(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_to_float32(entry) for entry in value)
    return value
