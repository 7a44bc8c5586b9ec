"""Limiting the reach of trained long convolutions, to see which taps a model uses.

A kernel of any filter is cut to the displacements ``|d| <= reach`` on each axis; all other taps are zero. Nothing else
changes, so the difference in accuracy is what the taps beyond are worth to this model. A model that was trained with a
short kernel may do better than a long kernel cut short: that is another comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmhyena.layers import LongConv

__all__ = ['LimitReachHook', 'ReachWindow', 'limit_reach', 'long_convs', 'stage_of']


class ReachWindow(nn.Module):
    """A window that sets the taps beyond a reach to zero.

    Args:
        window: The window that comes first, or None.
        reach: Largest displacement kept, in taps, on each axis.
        causal: Whether displacement 0 is the first tap instead of the middle one.
    """

    def __init__(self, window: nn.Module | None, reach: int, causal: bool) -> None:
        super().__init__()
        if reach < 0:
            raise ValueError(f'reach must not be negative, got {reach}')
        self.window, self.reach, self.causal = window, reach, causal

    def forward(self, kernel: Tensor, **kwargs: bool) -> Tensor:
        """Map ``(C, *kernel)`` to the same shape, with the options of the window."""
        if self.window is not None:
            kernel = self.window(kernel, **kwargs)
        for axis in range(1, kernel.dim()):
            taps = kernel.shape[axis]
            displacement = torch.arange(taps, device=kernel.device) - (0 if self.causal else taps // 2)
            inside = (displacement.abs() <= self.reach).to(kernel.dtype)
            kernel = kernel * inside.view(-1, *(1,) * (kernel.dim() - axis - 1))
        return kernel


def long_convs(model: nn.Module) -> dict[str, LongConv]:
    """Return the long convolutions of a model by their name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LongConv)}


def stage_of(name: str) -> int | None:
    """Return the first number in a module's name, which is the stage of a pyramid and the block of a ViT."""
    return next((int(part) for part in name.split('.') if part.isdigit()), None)


@contextmanager
def limit_reach(model: nn.Module, reach: int | None, stages: Sequence[int] | None = None) -> Iterator[int]:
    """Limit the reach of a model's long convolutions within the ``with`` block.

    Args:
        model: Any model with long convolutions. Along a sequence (bidirectional Hyena) the reach counts positions of
            the row-major order.
        reach: Largest displacement kept, in taps, or None for all.
        stages: Only those stages, see :func:`stage_of`; None for all.

    Yields:
        How many long convolutions are limited.

    Raises:
        ValueError: If the model has no long convolution in these stages.
    """
    convs = [conv for name, conv in long_convs(model).items() if stages is None or stage_of(name) in stages]
    if not convs:
        raise ValueError('the model has no long convolutions' + ('' if stages is None else f' in stages {stages}'))
    windows = [conv.window for conv in convs]
    try:
        if reach is not None:
            for conv in convs:
                _set_window(conv, ReachWindow(conv.window, reach, conv.causal))
        yield len(convs) if reach is not None else 0
    finally:
        for conv, window in zip(convs, windows):
            _set_window(conv, window)


def _set_window(conv: LongConv, window: nn.Module | None) -> None:
    if window is not None:
        window.train(conv.training)
    conv.window = window
    conv.train(conv.training)  # forgets cached kernels


class LimitReachHook(Hook):
    """Tests a model with a limited reach, see :func:`limit_reach`.

    Args:
        reach: Largest displacement kept, in taps, or None for all.
        stages: Only those stages; None for all.
    """

    def __init__(self, reach: int | None, stages: Sequence[int] | None = None) -> None:
        self.reach, self.stages = reach, stages
        self._limit = ExitStack()

    def before_test(self, runner: Runner) -> None:
        """Limit the reach."""
        self._limit.enter_context(limit_reach(runner.model, self.reach, self.stages))

    def after_test(self, runner: Runner) -> None:
        """Restore the kernels."""
        self._limit.close()
