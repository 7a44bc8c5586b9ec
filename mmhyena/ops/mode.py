"""What surrounds a call: compilation, tracing, autocast, on every torch from 2.1 on."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['autocast_dtype', 'has_onednn', 'is_compiling', 'is_exporting', 'is_recording_graph', 'records_nothing']


def is_compiling() -> bool:
    """Whether ``torch.compile`` or ``torch.export`` is tracing this call."""
    if hasattr(torch.compiler, 'is_compiling'):  # torch >= 2.3
        return torch.compiler.is_compiling()
    return torch._dynamo.is_compiling()


def is_exporting() -> bool:
    """Whether ``torch.export``, ``torch.onnx`` or ``torch.jit.trace`` is recording this call."""
    exporting = getattr(torch.compiler, 'is_exporting', None)  # torch >= 2.7
    return torch.jit.is_tracing() or torch.onnx.is_in_onnx_export() or bool(exporting and exporting())


def is_recording_graph() -> bool:
    """Whether a compiler or a tracer records this call, and had better see elementary operations."""
    return is_compiling() or torch.jit.is_tracing()


def records_nothing() -> bool:
    """Whether no gradient and no graph is recorded, so that work may be done in place and by opaque operators."""
    return not (torch.is_grad_enabled() or is_recording_graph())


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Return the type that autocast computes in on the device of ``x``, or None where it is off."""
    device = x.device.type
    if hasattr(torch, 'get_autocast_dtype'):  # torch >= 2.4
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def has_onednn() -> bool:
    """Whether oneDNN's operators are there and switched on."""
    return torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
