"""Whether a module may be computed as part of a larger operator instead of being called."""

from __future__ import annotations

from torch import Tensor, nn

from mmhyena.ops import depthwise_conv, linear

__all__ = ['dense', 'depthwise', 'is_plain', 'sequence_conv']


def is_plain(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether ``module`` is of one of ``kinds`` and nothing else, with no hook that a call would run."""
    return type(module) in kinds and not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def dense(layer: nn.Module, x: Tensor) -> Tensor:
    """Return ``layer(x)``, ``(..., C_in)`` to ``(..., C_out)``, by the fastest product if ``layer`` is a plain one."""
    if is_plain(layer, nn.Linear):
        return linear(x, layer.weight, layer.bias)
    return layer(x)


def depthwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``layer(x)``, ``(B, C, H, W)`` to the same shape, for a depthwise layer of odd kernel and stride 1."""
    if is_plain(layer, nn.Conv2d):
        return depthwise_conv(x, layer.weight, layer.bias)
    return layer(x)


def sequence_conv(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """Return ``layer(x.mT).mT``, ``(B, L, C)`` to the same shape, for a depthwise layer of odd kernel and stride 1.

    As a 2-D convolution of one row, since that has a form with channels last in memory and the 1-D one has not: a
    tenth of the time on a CPU.
    """
    if not is_plain(layer, nn.Conv1d):
        return layer(x.transpose(1, 2)).transpose(1, 2)
    row = x.unsqueeze(1).permute(0, 3, 1, 2)  # (B, C, 1, L), channels last in memory
    y = depthwise_conv(row, layer.weight.unsqueeze(2), layer.bias)
    return y.permute(0, 2, 3, 1).squeeze(1)  # (B, L, C)
