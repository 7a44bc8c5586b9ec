"""Whether a module may be computed as part of a larger operator instead of being called."""

from __future__ import annotations

from torch import nn

__all__ = ['is_plain']


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` is a ``kind`` and nothing else, with no hook and no parametrization that a call would run."""
    return type(module) is kind and not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
