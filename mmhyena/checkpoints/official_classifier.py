"""One entry for the official classifiers of every family: a model config and weights that load strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmhyena.checkpoints.families import OFFICIAL_FAMILIES, find_family
from mmhyena.checkpoints.report import compare
from mmhyena.errors import CheckpointError
from mmhyena.registry import MODELS

__all__ = ['official_classifier']

# All official models see RGB images normalized with ImageNet's statistics.
_IMAGENET = dict(type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


def official_classifier(
    state_dict: Mapping[str, Tensor], **official_args: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config of the mmpretrain classifier that an official state dict is from, and its weights.

    Architecture, sizes and the number of classes come from the tensors. The weights have our names, load strictly into
    ``mmpretrain.registry.MODELS.build(config)`` and give the official logits.

    Args:
        state_dict: Official names and tensors of a classifier, see :func:`~mmhyena.checkpoints.unwrap`.
        **official_args: What the tensors do not tell.

            - IBiT: ``roll``, ``'official'`` or ``'aligned'``, by default that of the file's ``roll_back`` buffers and
              ``'official'`` without them; ``img_size`` in pixels, ``(H, W)``, if images are not square;
              ``in_channels`` if they are not RGB.
            - Hyena N-D: ``args``, arguments of the official command line such as
              ``dict(directional_mode='seq', hyena2d_sqrt_decay=True)``, or the ``Namespace`` of the checkpoint.
            - HyenaPixel and bidirectional Hyena: none.

    Raises:
        CheckpointError: If the state dict is from no official classifier, is incomplete, or contradicts itself or an
            argument.
    """
    family = find_family(state_dict)
    if family is None:
        known = ', '.join(family.name for family in OFFICIAL_FAMILIES)
        raise CheckpointError(
            f'no official checkpoint of {known}: the state dict has {", ".join(list(state_dict)[:3]) or "no tensor"}'
        )
    if unknown := set(official_args) - set(family.official_args):
        takes = ', '.join(family.official_args) or 'no arguments'
        raise CheckpointError(f'{family.name} takes {takes}, not {", ".join(sorted(unknown))}')
    try:
        backbone = family.backbone_config(state_dict, **official_args)
        with torch.device('meta'):
            model = MODELS.build(backbone)
        weights = family.convert(state_dict, model)
    except CheckpointError:
        raise
    except (KeyError, ValueError) as error:
        missing = 'the official state dict lacks ' if isinstance(error, KeyError) else ''
        raise CheckpointError(f'{missing}{error}') from error
    dims = model.embed_dims
    head, head_shapes = _head(family.name, weights, dims if isinstance(dims, int) else dims[-1])
    shapes = {f'backbone.{name}': tuple(value.shape) for name, value in model.state_dict().items()}
    compare(weights, shapes | head_shapes).require_fit('the official state dict', f'a classifier of {family.name}')
    return dict(type='ImageClassifier', data_preprocessor=dict(_IMAGENET), backbone=backbone, head=head), weights


def _head(
    family: str, weights: Mapping[str, Tensor], channels: int
) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Return the config of the head, and the shapes of its tensors."""
    if 'head.fc2.weight' in weights:
        classes, hidden = weights['head.fc2.weight'].shape
        shapes = _linear('fc1', channels, hidden) | _linear('fc2', hidden, classes)
        shapes |= {'head.norm.weight': (hidden,), 'head.norm.bias': (hidden,)}
        head = dict(type='mmhyena.MetaFormerClsHead', num_classes=classes, in_channels=channels)
        return (head if hidden == 4 * channels else head | dict(ratio=hidden // channels)), shapes
    if 'head.fc.weight' in weights:
        classes = len(weights['head.fc.weight'])
        return dict(type='LinearClsHead', num_classes=classes, in_channels=channels), _linear('fc', channels, classes)
    raise CheckpointError(f'the state dict of {family} has no classifier; official_classifier needs one')


def _linear(name: str, in_channels: int, out_channels: int) -> dict[str, tuple[int, ...]]:
    return {f'head.{name}.weight': (out_channels, in_channels), f'head.{name}.bias': (out_channels,)}
