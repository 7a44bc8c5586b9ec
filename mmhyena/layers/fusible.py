"""Whether the parameters of a module may be used without calling the module."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ['why_not_fusible']

# What `nn.Module.__call__` looks at, in every version since torch 2.1.
_GLOBAL_HOOKS = (
    '_global_forward_hooks',
    '_global_forward_pre_hooks',
    '_global_backward_hooks',
    '_global_backward_pre_hooks',
)


def why_not_fusible(module: nn.Module | None, *types: type[nn.Module], bias: bool = True) -> str | None:
    """Return why an operator may not take the place of a call of ``module``, or None if it may.

    It may if ``module(x)`` runs the ``forward`` of its class and nothing else. Subclasses are refused, since they may
    compute anything: parametrized and quantized layers, adapters.

    Args:
        module: The module that would not be called.
        *types: The types whose ``forward`` the operator computes.
        bias: Whether the operator knows of a bias.
    """
    if module is None or type(module) not in types:
        return f'it is of type {type(module).__name__}, not {" or ".join(kind.__name__ for kind in types)}'
    if not bias and module.bias is not None:
        return 'it has a bias'
    own = module.__dict__
    if own['_forward_hooks'] or own['_forward_pre_hooks'] or own['_backward_hooks'] or own['_backward_pre_hooks']:
        return 'it has hooks'
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return 'there are global module hooks'
    if 'forward' in own:
        return 'its forward is replaced on the instance'
    return None
