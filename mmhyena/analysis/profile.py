"""What a backbone costs: parameters, operations, memory saved for backward, time of a forward pass."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmhyena.analysis.flops import count_macs
from mmhyena.analysis.parts import PartWatch, parts_of
from mmhyena.ops import use_backend
from mmhyena.registry import MODELS

__all__ = ['profile_backbone', 'profile_stages', 'saved_bytes', 'saved_bytes_by']


def saved_bytes(function: Callable[[], object], but: Iterable[Tensor] = ()) -> int:
    """Return the bytes of the distinct storages that autograd keeps for the backward of ``function()``.

    Args:
        function: A forward under autograd.
        but: Tensors whose storages do not count.
    """
    return sum(saved_bytes_by(function, lambda: '', but).values())


def saved_bytes_by(function: Callable[[], object], part: Callable[[], str], but: Iterable[Tensor] = ()) -> Counter[str]:
    """Return the bytes that autograd keeps for the backward of ``function()`` by the part that keeps them first.

    Args:
        function: A forward under autograd.
        part: Gives the name of the part that runs.
        but: Tensors whose storages do not count.
    """
    ignored = {tensor.untyped_storage().data_ptr() for tensor in but}
    sizes: dict[int, tuple[str, int]] = {}
    alive: list[Tensor] = []  # an address may come again only after its storage is gone

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ignored:
            sizes.setdefault(storage.data_ptr(), (part(), storage.nbytes()))
        alive.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    total: Counter[str] = Counter()
    for name, size in sizes.values():
        total[name] += size
    return total


def profile_backbone(config: Mapping[str, Any], size: Sequence[int], rounds: int = 5) -> dict[str, float]:
    """Measure a backbone on one random image, on the CPU with the current number of threads.

    Args:
        config: Config of the backbone.
        size: Height and width of the image.
        rounds: Timed forward passes after a first one, of which the median counts.

    Returns:
        ``params_m``: parameters in millions; ``gmacs``: multiply-accumulates of a forward pass in G, FFTs included;
        ``saved_mib``: memory saved for backward in MiB; ``forward_ms``: time of a forward pass in evaluation.
    """
    backbone: nn.Module = MODELS.build(dict(config))
    image = torch.randn(1, 3, *size)
    saved = saved_bytes(lambda: backbone.train()(image), but=backbone.parameters())
    backbone.eval()
    with use_backend('fft'):  # the same count on every machine
        macs = count_macs(backbone, lambda model: model(image)).total
    return dict(
        params_m=sum(parameter.numel() for parameter in backbone.parameters()) / 1e6,
        gmacs=macs / 1e9,
        saved_mib=saved / 2**20,
        forward_ms=_forward_ms(backbone, image, rounds),
    )


def profile_stages(
    model: nn.Module, forward: Callable[[nn.Module], object], rounds: int = 5
) -> list[dict[str, float | str]]:
    """Measure every stage of a model's backbone, and its neck and heads, on the CPU or wherever the model lies.

    Args:
        model: A model; :func:`~mmhyena.analysis.parts.parts_of` says what a part is. It runs in evaluation mode, with
            kernels made anew where memory is measured, as in training.
        forward: Runs the model once on the input of interest.
        rounds: Timed forward passes after a first one, of which the median counts.

    Returns:
        A row per part: ``part``, and the columns of :func:`profile_backbone`. What runs between the parts, such as the
        post-processing of a detector, is ``'between'``.
    """
    parts = parts_of(model)
    was_training = model.training
    model.eval()
    try:
        with PartWatch(parts) as watch:
            saved = saved_bytes_by(lambda: forward(model), lambda: watch.part or 'between', model.parameters())
        with use_backend('fft'):  # the same count on every machine
            macs = count_macs(model, forward, parts).parts
        times = _part_seconds(model, forward, parts, rounds)
    finally:
        model.train(was_training)
    rows: list[dict[str, float | str]] = []
    counted: set[int] = set()
    for name in (*parts, 'between'):
        own = {id(p): p.numel() for module in parts.get(name, ()) for p in module.parameters() if id(p) not in counted}
        counted |= set(own)
        rows.append(
            dict(
                part=name,
                params_m=sum(own.values()) / 1e6,
                gmacs=macs[name].total() / 1e9 if name in macs else 0.0,
                saved_mib=saved[name] / 2**20,
                forward_ms=1e3 * times.get(name, 0.0),
            )
        )
    return rows


@torch.no_grad()
def _part_seconds(
    model: nn.Module,
    forward: Callable[[nn.Module], object],
    parts: Mapping[str, Sequence[nn.Module]],
    rounds: int,
) -> dict[str, float]:
    forward(model)  # kernels are made once
    passes = []
    for _ in range(rounds):
        with PartWatch(parts) as watch:
            forward(model)
        passes.append(watch.seconds)
    names = {name for seconds in passes for name in seconds}
    return {name or 'between': statistics.median(seconds[name] for seconds in passes) for name in names}


@torch.no_grad()
def _forward_ms(backbone: nn.Module, image: Tensor, rounds: int) -> float:
    backbone(image)  # kernels are made once
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        backbone(image)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)
