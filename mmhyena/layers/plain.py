"""Whether a module may be computed as part of a larger operator instead of being called."""

from __future__ import annotations

from torch import Tensor, nn

from ..ops import linear

__all__ = ['dense', 'is_plain']


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` is a ``kind`` and nothing else, with no hook and no parametrization that a call would run."""
    return type(module) is kind and not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def dense(layer: nn.Module, x: Tensor) -> Tensor:
    """Return ``layer(x)``, ``(..., C_in)`` to ``(..., C_out)``, by the fastest product if ``layer`` is a plain one."""
    if is_plain(layer, nn.Linear):
        return linear(x, layer.weight, layer.bias)
    return layer(x)
