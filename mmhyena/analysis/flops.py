"""Multiply-accumulates of one forward pass, FFTs included, with the making of the long kernels apart.

Counted is what really runs, operator by operator: matrix products and convolutions by their multiply-accumulates; FFTs
as half their real operations, ``2.5 n log2 n`` for a complex and half of that for a real one of length ``n``; complex
products as 3. Norms, activations and other elementwise work are not counted, as is usual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log2, prod
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmhyena.analysis.parts import PartWatch

__all__ = ['KINDS', 'MacCount', 'count_macs']

KINDS = ('linear', 'convolution', 'attention', 'fft', 'spectrum')


@dataclass
class MacCount:
    """Multiply-accumulates of one forward pass.

    Attributes:
        parts: For every part of the model, the count by kind of operation.
        kernels: What is done once for given weights and map size, and not again in evaluation: filter networks and
            the spectra of their kernels.
    """

    parts: dict[str, Counter[str]] = field(default_factory=dict)
    kernels: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Count of one forward pass with the kernels at hand."""
        return sum(part.total() for part in self.parts.values())

    def table(self) -> Table:
        """Return the counts in G, parts as rows and kinds of operation as columns."""
        table = Table('part', *(f'{kind}\n[G]' for kind in KINDS), 'total\n[G]')
        for column in table.columns[1:]:
            column.justify = 'right'
        for name, counts in self.parts.items():
            table.add_row(name, *_cells(counts))
        table.add_section()
        table.add_row('forward', *_cells(sum(self.parts.values(), Counter())))
        table.add_section()
        table.add_row('kernels, once', *_cells(self.kernels))
        return table


def _cells(counts: Counter[str]) -> list[str]:
    return [f'{counts[kind] / 1e9:.3f}' for kind in KINDS] + [f'{counts.total() / 1e9:.3f}']


def count_macs(
    model: nn.Module, forward: Callable[[nn.Module], Any], parts: Mapping[str, Sequence[nn.Module]] | None = None
) -> MacCount:
    """Count one forward pass of ``model`` in evaluation mode.

    Args:
        model: The model.
        forward: Runs the model once on the input of interest.
        parts: Modules of every part of the count. What runs in a part inside another counts for the inner one. None
            takes the direct children of the model.
    """
    was_training = model.training
    model.eval()  # forgets the kernels, so that the first of two passes makes them
    try:
        with torch.no_grad():
            passes = []
            parts = parts or {name: [child] for name, child in model.named_children()}
            for _ in range(2):
                with _Counting(parts) as counting:
                    forward(model)
                passes.append(counting.counts)
    finally:
        model.train(was_training)
    first, second = passes
    kernels = sum(first.values(), Counter())
    kernels.subtract(sum(second.values(), Counter()))
    return MacCount(second, +kernels)


class _Counting(TorchDispatchMode):
    """Counts every operator that runs inside the ``with`` block, by the part of the model that runs it."""

    def __init__(self, parts: Mapping[str, Sequence[nn.Module]]) -> None:
        super().__init__()
        self.counts: dict[str, Counter[str]] = {}
        self._watch = PartWatch(parts)

    def __enter__(self) -> _Counting:
        self._watch.__enter__()
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._watch.__exit__(*exc)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        kind, macs = _operator_macs(func._overloadpacket.__name__, args, out)
        if macs:
            self.counts.setdefault(self._watch.part or 'between', Counter())[kind] += round(macs)
        return out


def _operator_macs(name: str, args: tuple, out: Any) -> tuple[str, float]:
    """Return the kind of an operator and its multiply-accumulates, 0 for an operator that is not counted."""
    if name in ('mm', 'bmm'):
        return 'linear', out.numel() * args[0].shape[-1]
    if name in ('addmm', 'baddbmm'):
        return 'linear', out.numel() * args[1].shape[-1]
    if name == '_linear_pointwise':  # oneDNN
        return 'linear', out.numel() * args[0].shape[-1]
    if name in ('convolution', '_convolution', 'mkldnn_convolution', '_convolution_pointwise'):
        return 'convolution', _convolution_macs(args, out)
    if name.startswith('_scaled_dot_product'):
        query, key, value = args[:3]  # (B, heads, L, d)
        return 'attention', prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    if name in ('_fft_r2c', '_fft_c2r', '_fft_c2c'):
        return 'fft', _fft_macs(args[0], out, args[1])
    if name in ('mul', 'mul_', 'addcmul', 'addcmul_') and isinstance(out, Tensor) and out.is_complex():
        both = all(isinstance(arg, Tensor) and arg.is_complex() for arg in args[:2])
        return 'spectrum', out.numel() * (3 if both else 1)
    return '', 0


def _convolution_macs(args: tuple, out: Tensor) -> int:
    x, weight = args[:2]
    transposed = len(args) > 6 and args[6] is True
    return (x if transposed else out).numel() * weight[0].numel()


def _fft_macs(x: Tensor, out: Tensor, axes: list[int]) -> float:
    """Count a transform over ``axes``, of which the last is the one whose spectrum is halved in a real transform."""
    real_side = next((side for side in (x, out) if not side.is_complex()), None)
    complex_side = out if out.is_complex() else x
    total = 0.0
    for place, axis in enumerate(axes):
        side, factor = complex_side, 2.5
        if real_side is not None and place == len(axes) - 1:
            side, factor = real_side, 1.25
        total += factor * side.numel() * log2(max(side.shape[axis], 1))
    return total
