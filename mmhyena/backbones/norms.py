"""Normalization of a backbone's outputs, by the ``norm_cfg`` of OpenMMLab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhyena.checks import check_choice

__all__ = ['build_norm', 'normalize']

_BATCH_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_TYPES = ('LN', 'BN', 'SyncBN', 'GN')


def build_norm(norm_cfg: Mapping[str, Any], channels: int, ndim: int) -> nn.Module:
    """Build the norm of an output.

    Args:
        norm_cfg: ``type`` is ``'LN'`` (over the channels of each position), ``'BN'``, ``'SyncBN'`` or ``'GN'`` (with
            ``num_groups``); ``requires_grad=False`` freezes its weights; all else goes to the torch module.
        channels: Number of channels C.
        ndim: Number of spatial axes of the output, 0 for vectors.

    Raises:
        ValueError: If the type is unknown or an argument is not the module's.
    """
    if not isinstance(norm_cfg, Mapping) or 'type' not in norm_cfg:
        raise ValueError(f"norm_cfg must be a dict with 'type', one of {', '.join(_TYPES)}, got {norm_cfg!r}")
    arguments = dict(norm_cfg)
    kind = check_choice('type of norm_cfg', arguments.pop('type'), _TYPES)
    requires_grad = arguments.pop('requires_grad', True)
    try:
        norm: nn.Module
        if kind == 'LN':
            norm = nn.LayerNorm(channels, **arguments)
        elif kind == 'GN':
            norm = nn.GroupNorm(num_channels=channels, **arguments)
        else:
            norm = (nn.SyncBatchNorm if kind == 'SyncBN' else _BATCH_NORMS[ndim])(channels, **arguments)
    except TypeError as error:
        raise ValueError(f'norm_cfg {dict(norm_cfg)} does not fit: {error}') from error
    return norm if requires_grad else norm.requires_grad_(False)


def normalize(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a norm of :func:`build_norm` to ``x`` ``(B, *spatial, C)``; same shape out."""
    if isinstance(norm, (_BatchNorm, nn.GroupNorm)):
        return norm(x.movedim(-1, 1)).movedim(1, -1)
    return norm(x)
