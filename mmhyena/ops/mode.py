"""State of the surrounding call: compilation, tracing, autocast and functional transforms, on torch 2.1 and later."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = [
    'autocast_dtype',
    'has_onednn',
    'has_onednn_bfloat16',
    'in_functorch',
    'is_compiling',
    'is_dynamo_compiling',
    'is_exporting',
    'is_exporting_onnx',
    'is_inference',
    'is_ordinary',
    'is_recording_graph',
    'no_autocast',
    'no_dispatch',
]


def is_compiling() -> bool:
    """Whether ``torch.compile`` or ``torch.export`` is tracing this call."""
    if hasattr(torch.compiler, 'is_compiling'):  # torch >= 2.3
        return torch.compiler.is_compiling()
    return torch._dynamo.is_compiling()


def is_dynamo_compiling() -> bool:
    """Whether TorchDynamo is tracing this call, whose Python it must then understand."""
    if hasattr(torch.compiler, 'is_dynamo_compiling'):  # torch >= 2.3
        return torch.compiler.is_dynamo_compiling()
    return torch._dynamo.is_compiling()


def is_exporting() -> bool:
    """Whether ``torch.export``, ``torch.onnx`` or ``torch.jit.trace`` is recording this call."""
    # torch.compiler.is_exporting (torch >= 2.7) is constantly true under TorchDynamo, the flag behind it is not.
    exporting = getattr(torch.compiler, '_is_exporting_flag', False)
    return torch.jit.is_tracing() or is_exporting_onnx() or exporting


def is_exporting_onnx() -> bool:
    """Whether ``torch.onnx`` is recording this call."""
    return torch.onnx.is_in_onnx_export()


def is_recording_graph() -> bool:
    """Whether a compiler or a tracer records this call, and should see elementary operations."""
    return is_compiling() or torch.jit.is_tracing()


def is_inference() -> bool:
    """Whether neither autograd nor a compiler records this call: operators may work in place and be opaque."""
    return not (torch.is_grad_enabled() or is_recording_graph())


def in_functorch() -> bool:
    """Whether a transform of ``torch.func`` is active."""
    return torch._C._are_functorch_transforms_active()


def is_ordinary(tensor: Tensor) -> bool:
    """Whether ``tensor`` holds data of its own: no fake, meta or ``torch.func`` tensor and no wrapper subclass."""
    if type(tensor) not in (Tensor, torch.nn.Parameter, getattr(torch.nn, 'Buffer', Tensor)):
        return False
    return not (tensor.is_meta or (in_functorch() and torch._C._functorch.is_functorch_wrapped_tensor(tensor)))


def no_dispatch() -> AbstractContextManager:
    """Return a context in which operators on tensors with data are computed, whatever is being traced around it."""
    return torch._C._DisableTorchDispatch()


def no_autocast(device: torch.device) -> AbstractContextManager:
    """Return a context without autocast on ``device``, which does nothing, and leaves no trace, where it is off."""
    if _autocast_dtype(device.type) is None:
        return nullcontext()
    return torch.autocast(device_type=device.type, enabled=False)


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Return the type that autocast computes in on the device of ``x``, or None where it is off."""
    return _autocast_dtype(x.device.type)


def _autocast_dtype(device: str) -> torch.dtype | None:
    if device == 'meta':  # it has no autocast
        return None
    if hasattr(torch, 'get_autocast_dtype'):  # torch >= 2.4
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def has_onednn() -> bool:
    """Whether oneDNN's operators are available and switched on."""
    return torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)


def has_onednn_bfloat16() -> bool:
    """Whether oneDNN's operators take bfloat16 on this processor; whether they gain by it is another question."""
    name = '_is_mkldnn_bf16_supported'
    return has_onednn() and hasattr(torch.ops.mkldnn, name) and bool(getattr(torch.ops.mkldnn, name)())
