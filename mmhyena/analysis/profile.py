"""What a backbone costs: parameters, operations, memory saved for backward, time of a forward pass."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmhyena.analysis.flops import count_macs
from mmhyena.ops import use_backend
from mmhyena.registry import MODELS

__all__ = ['profile_backbone', 'saved_bytes']


def saved_bytes(function: Callable[[], object], but: Iterable[Tensor] = ()) -> int:
    """Return the bytes of the distinct storages that autograd keeps for the backward of ``function()``.

    Args:
        function: A forward under autograd.
        but: Tensors whose storages do not count.
    """
    ignored = {tensor.untyped_storage().data_ptr() for tensor in but}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # an address may come again only after its storage is gone

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ignored:
            sizes[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(sizes.values())


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


@torch.no_grad()
def _forward_ms(backbone: nn.Module, image: Tensor, rounds: int) -> float:
    backbone(image)  # kernels are made once
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        backbone(image)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)
