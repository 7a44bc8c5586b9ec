"""Comparing backbones under one training recipe: what is trained, and what came out.

Every backbone takes the place of the one in the task's base config; data, schedule, optimizer, neck and heads stay. The
mixers of :data:`MIXERS` share one MetaFormer shell whose MLPs are widened until all have the same number of parameters,
so that what differs is how tokens are mixed.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config
from torch import nn

from mmhyena.errors import UserError
from mmhyena.registry import MODELS

__all__ = ['MIXERS', 'TASKS', 'Records', 'backbone_config', 'feature_channels', 'set_backbone', 'summarize']

#: Base config under ``configs/`` and the metrics of each task, the one that ranks first.
TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    'detection': ('shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py', ('coco/bbox_mAP', 'coco/segm_mAP')),
    'segmentation': ('shapes/upernet_hpx-former-tiny_shapes.py', ('mIoU', 'aAcc')),
    'classification': ('shapes/hpx-former-tiny_shapes.py', ('accuracy/top1',)),
}

_DEPTHS, _DIMS = (2, 2, 4, 2), (32, 64, 128, 192)
_MLP_RATIO = 4.0


def _hpx(kernels: Sequence[int]) -> list[dict]:
    return [
        dict(type='HyenaPixel', kernel_size=kernel, position_dim=dim, norm=True)
        for kernel, dim in zip(kernels, (16, 16, 24, 32))
    ]


#: Token mixers of the four stages of the tiny shell.
MIXERS: dict[str, list[dict]] = {
    'hpx': _hpx((63, 31, 15, 7)),
    'hpx_k31': _hpx((31, 31, 15, 7)),
    'hpx_k15': _hpx((15, 15, 15, 7)),
    'hpx_k7': _hpx((7, 7, 7, 7)),
    'hb': [
        dict(type='BidirectionalHyena', l_max=length, position_dim=dim, width=width, norm=True)
        for length, dim, width in zip((1024, 256, 64, 16), (33, 33, 49, 65), (64, 64, 96, 128))
    ],
    'hyena_nd': [dict(type='HyenaND', map_size=size, direction='alternating') for size in (16, 8, 4, 2)],
    'attention': [dict(type='Attention')] * 4,
    'convformer': [dict(type='SepConv')] * 4,
    'convnext': [dict(type='DepthwiseMixer')] * 4,
}


def _shell(mixer: str, mlp_ratio: float) -> dict:
    arch = dict(depths=_DEPTHS, dims=_DIMS, token_mixers=MIXERS[mixer], mlp_ratio=mlp_ratio)
    return dict(type='mmhyena.HyenaFormer', arch=arch, drop_path_rate=0.0)


@cache
def _parameters(mixer: str, mlp_ratio: float) -> int:
    return sum(parameter.numel() for parameter in MODELS.build(_shell(mixer, mlp_ratio)).parameters())


def _equal_parameters(mixer: str) -> dict:
    """Return the config of a mixer in the tiny shell, as close as it gets to the parameters of the largest one."""
    target = max(_parameters(name, _MLP_RATIO) for name in MIXERS)
    count = _parameters(mixer, _MLP_RATIO)
    per_unit = (_parameters(mixer, 2 * _MLP_RATIO) - count) / _MLP_RATIO
    return _shell(mixer, round(_MLP_RATIO + (target - count) / per_unit, 3))


def backbone_config(name: str) -> dict:
    """Return the config of a backbone by name: a mixer of :data:`MIXERS`, an arch of HyenaFormer, or ``timm:MODEL``.

    Raises:
        UserError: If there is no such backbone.
    """
    from mmhyena.backbones import HyenaFormer

    if name in MIXERS:
        return _equal_parameters(name)
    if name in HyenaFormer.arch_settings:
        return dict(type='mmhyena.HyenaFormer', arch=name, drop_path_rate=0.0)
    if name.startswith('timm:'):
        return dict(type='mmhyena.TimmBackbone', model_name=name.removeprefix('timm:'))
    known = ', '.join([*MIXERS, *HyenaFormer.arch_settings])
    raise UserError(f"backbone '{name}' is unknown: choose one of {known}, or timm:MODEL")


def feature_channels(backbone: nn.Module) -> tuple[int, ...]:
    """Return the channels of a backbone's four feature maps."""
    return tuple(cast(Any, backbone).embed_dims)


def set_backbone(cfg: Config, backbone: Mapping[str, Any], channels: Sequence[int]) -> None:
    """Put a backbone into the config of a detector, segmentor or classifier, in place.

    Args:
        cfg: A config whose neck and heads read all feature maps that the backbone returns, or one of them.
        backbone: Config of the backbone.
        channels: Channels of the feature maps of its four stages.
    """
    model = cfg.model
    # A classifier's backbone returns one map, of which heads say nothing; detectors may read fewer stages than four.
    stages = model.backbone.get('out_indices', range(len(channels)))
    returned = [channels[stage] for stage in ([stages] if isinstance(stages, int) else stages)]
    kept = {key: model.backbone[key] for key in ('out_indices', 'gap_before_final_norm') if key in model.backbone}
    model.backbone = dict(backbone, **kept)
    for part in (model.get('neck'), model.get('decode_head'), model.get('auxiliary_head'), model.get('head')):
        if part and 'in_channels' in part:
            many = isinstance(part.in_channels, (list, tuple))
            part.in_channels = returned if many else returned[part.get('in_index', -1)]


class Records:
    """Finished runs in a csv file, one row each; an interrupted run has none.

    Args:
        path: The file, which may not exist yet.
        settings: What all runs have in common; runs of other settings are refused.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        beside = path.with_suffix('.json')
        text = json.dumps(settings, indent=1, sort_keys=True)
        if path.exists():
            if not beside.exists() or beside.read_text(encoding='utf-8') != text:
                raise UserError(f'{path} holds runs of other settings: choose another --out, or delete it')
            with path.open(newline='', encoding='utf-8') as file:
                self.rows = [row for row in csv.DictReader(file) if None not in row.values()]
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding='utf-8')

    def find(self, backbone: str, seed: int) -> dict[str, str] | None:
        """Return the row of a finished run, or None."""
        return next((row for row in self.rows if row['backbone'] == backbone and row['seed'] == str(seed)), None)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a finished run; the file is complete after every call."""
        self.rows.append({key: str(value) for key, value in row.items()})
        temporary = self.path.with_suffix('.tmp')
        with temporary.open('w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.path)


def summarize(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return mean and sample standard deviation (0 for one run) of ``columns`` for every backbone."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        groups.setdefault(row['backbone'], []).append(row)
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for name, group in groups.items():
        result[name] = {}
        for column in columns:
            values = [float(row[column]) for row in group]
            result[name][column] = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    return result
