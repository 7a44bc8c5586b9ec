"""Models from a config or by the name of an architecture, ready for their operations to be counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmhyena.analysis.flops import MacCount, count_macs
from mmhyena.analysis.official_macs import official_macs
from mmhyena.apis.building import build_model
from mmhyena.apis.config import load_config
from mmhyena.apis.toolkits import use_toolkit
from mmhyena.backbones import HyenaFormer
from mmhyena.errors import UserError
from mmhyena.layers.metaformer import SquaredReLU
from mmhyena.ops import use_backend

__all__ = ['CountingTarget', 'build_for_counting', 'count_executed', 'count_official', 'forward_of']

_SHAPES = {'classification': (224, 224), 'detection': (800, 1344), 'segmentation': (512, 512)}


@dataclass
class CountingTarget:
    """A model and the size of the image that it is counted for."""

    name: str
    model: nn.Module
    shape: tuple[int, int]
    task: str = 'classification'

    @property
    def parameters(self) -> int:
        """Number of learnable and frozen parameters."""
        return sum(param.numel() for param in self.model.parameters())


class _Classifier(nn.Module):
    """An architecture with the head of the MetaFormer baselines, without mmpretrain."""

    def __init__(self, arch: str, num_classes: int = 1000) -> None:
        super().__init__()
        self.backbone = HyenaFormer(arch, out_indices=(3,), gap_before_final_norm=True)
        channels = self.backbone.embed_dims[-1]
        hidden = 4 * channels
        self.head = nn.Sequential(
            nn.Linear(channels, hidden), SquaredReLU(), nn.LayerNorm(hidden), nn.Linear(hidden, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(B, num_classes)`` of ``x`` ``(B, 3, H, W)``."""
        return self.head(self.backbone(x)[0])


def build_for_counting(
    config: str | Path | None = None,
    arch: str | None = None,
    shape: Sequence[int] | None = None,
    official: bool = False,
) -> CountingTarget:
    """Build a model without weights of any worth.

    Args:
        config: Config file of a classifier, detector or segmentor; or
        arch: name of an architecture of :class:`~mmhyena.backbones.HyenaFormer`, as a classifier of 1000 classes.
        shape: Height and width of the image, or one number for both; None takes what is usual for the task.
        official: Whether shapes alone are needed; the model then lies on the meta device.

    Raises:
        UserError: If the config or the architecture is unknown, or the image too small.
    """
    with torch.device('meta') if official else nullcontext():
        if arch is not None:
            if arch not in HyenaFormer.arch_settings:
                raise UserError(f'arch {arch!r} is unknown; choose one of {", ".join(HyenaFormer.arch_settings)}')
            name, task = arch, 'classification'
            model: Any = _Classifier(arch)
        else:
            name, (model, task) = str(config), _build_model(config)
    shape = tuple(shape or _SHAPES[task])
    shape = (shape[0], shape[-1])
    smallest = getattr(model.backbone, 'min_size', 1)
    if min(shape) < smallest:
        raise UserError(f'--shape {shape[0]} {shape[1]} is too small: {name} needs at least {smallest} pixels a side')
    return CountingTarget(name, model, shape, task)


def _build_model(config: Any) -> tuple[nn.Module, str]:
    cfg = load_config(config)
    toolkit = use_toolkit(cfg)
    return build_model(cfg), toolkit.task


def count_official(target: CountingTarget) -> float:
    """Return the official count of a classifier.

    Raises:
        UserError: If it is no classifier with a HyenaFormer backbone and the head of the published models.
    """
    backbone: Any = target.model.backbone
    head: Any = getattr(target.model, 'head', None)
    if target.task != 'classification' or not isinstance(backbone, HyenaFormer):
        raise UserError(f'the official count is for HyenaFormer classifiers: count {target.name} without it')
    last = [module for module in head.modules() if isinstance(module, nn.Linear)][-1]
    return official_macs(backbone, target.shape, last.out_features)


def count_executed(target: CountingTarget, backend: str = 'fft') -> MacCount:
    """Count one forward pass for one image, without the toolkit's post-processing.

    Args:
        target: The model and the size of the image.
        backend: Backend of all long convolutions, or ``'auto'`` for what is chosen on this machine.
    """
    with nullcontext() if backend == 'auto' else use_backend(backend):
        return count_macs(target.model, forward_of(target))


def forward_of(target: CountingTarget) -> Callable[[Any], object]:
    """Return a function that runs the model on one image, without the toolkit's post-processing."""
    image = torch.zeros(1, 3, *target.shape)
    if isinstance(target.model, _Classifier):
        return lambda model: model(image)
    samples = [_detection_sample(target.shape)] if target.task == 'detection' else None
    return lambda model: model(image, samples, mode='tensor')


def _detection_sample(shape: tuple[int, int]) -> object:
    from mmdet.structures import DetDataSample

    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))
    return DetDataSample(metainfo=meta)
