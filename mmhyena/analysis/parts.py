"""Parts of a model, such as the stages of its backbone, and which of them runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

__all__ = ['PartWatch', 'parts_of']


def parts_of(model: nn.Module) -> dict[str, list[nn.Module]]:
    """Return the stages of a model's backbone, what else the backbone has, and the model's other children.

    Args:
        model: A model with a ``backbone``, or a backbone. A stage is a module of the backbone's ``stages`` with the
            downsampling before it, or otherwise a child of the backbone.
    """
    backbone = getattr(model, 'backbone', model)
    stages, downsampling = getattr(backbone, 'stages', None), getattr(backbone, 'downsample_layers', None)
    if stages is not None and downsampling is not None and len(stages) == len(downsampling):
        parts = {f'stage {i + 1}': list(pair) for i, pair in enumerate(zip(downsampling, stages))}
    else:
        parts = {name: [child] for name, child in backbone.named_children()}
    parts['backbone, other'] = [backbone]
    if backbone is not model:
        parts |= {name: [child] for name, child in model.named_children() if child is not backbone}
    return parts


class PartWatch:
    """Knows inside the ``with`` block which part of a model runs, and how long each has run.

    A part inside another counts alone: what the inner one does is not done by the outer one.

    Args:
        parts: Modules of every part.

    Attributes:
        part: Name of the part that runs, empty between them.
        seconds: Time that every part has run.
    """

    def __init__(self, parts: Mapping[str, Sequence[nn.Module]]) -> None:
        self.parts = parts
        self.part = ''
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._since = 0.0

    def __enter__(self) -> PartWatch:
        # Not by hooks: the toolkits call the forward of a head directly.
        for name, modules in self.parts.items():
            for module in modules:
                module.forward = self._wrap(name, module.forward)
        self._since = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        for modules in self.parts.values():
            for module in modules:
                del module.forward

    def _enter(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[self.part] += now - self._since
        self.part, self._since = part, now

    def _wrap(self, name: str, forward: Callable) -> Callable:
        def run(*args: Any, **kwargs: Any) -> Any:
            outside = self.part
            self._enter(name)
            try:
                return forward(*args, **kwargs)
            finally:
                self._enter(outside)

        return run
