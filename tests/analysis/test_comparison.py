"""The comparison kit: contestants of one size, put where the config wants them, with results that survive a stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmhyena.analysis.comparison import (
    MIXERS,
    TASKS,
    Records,
    backbone_config,
    feature_channels,
    set_backbone,
    summarize,
)
from mmhyena.analysis.profile import profile_backbone, saved_bytes
from mmhyena.errors import UserError
from mmhyena.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_mixers_have_equal_parameters_and_one_shell():
    counts = {}
    for name in MIXERS:
        backbone = MODELS.build(backbone_config(name))
        counts[name] = sum(parameter.numel() for parameter in backbone.parameters())
        assert feature_channels(backbone) == (32, 64, 128, 192)
        assert [tuple(y.shape[1:]) for y in backbone(torch.randn(1, 3, 64, 96))] == [
            (32, 16, 24), (64, 8, 12), (128, 4, 6), (192, 2, 3)
        ]  # fmt: skip
    assert max(counts.values()) / min(counts.values()) < 1.001, counts


@pytest.mark.parametrize('task', TASKS)
def test_backbone_takes_its_place(task):
    cfg = Config.fromfile(CONFIGS / TASKS[task][0])
    before = cfg.model.backbone
    set_backbone(cfg, dict(type='mmhyena.HyenaFormer', arch='hpx_former_s18'), (64, 128, 320, 512))
    assert cfg.model.backbone.arch == 'hpx_former_s18'
    assert cfg.model.backbone.get('out_indices') == before.get('out_indices')
    if task == 'detection':
        assert cfg.model.neck.in_channels == [64, 128, 320, 512]
    elif task == 'segmentation':
        assert cfg.model.decode_head.in_channels == [64, 128, 320, 512]
        assert cfg.model.auxiliary_head.in_channels == 320
    else:
        assert cfg.model.head.in_channels == 512


def test_unknown_backbone_is_one_line():
    with pytest.raises(UserError, match=r"backbone 'hpy' is unknown: choose one of hpx, .*timm:MODEL"):
        backbone_config('hpy')


def test_records_survive_a_stop_and_refuse_other_settings(tmp_path):
    path = tmp_path / 'runs' / 'detection.csv'
    records = Records(path, dict(task='detection'))
    assert records.find('hpx', 0) is None
    records.add(dict(backbone='hpx', seed=0, mAP=0.5))
    records.add(dict(backbone='hb', seed=0, mAP=0.25))
    again = Records(path, dict(task='detection'))
    assert again.rows == records.rows and again.find('hpx', 0)['mAP'] == '0.5' and again.find('hpx', 1) is None
    with pytest.raises(UserError, match='holds runs of other settings'):
        Records(path, dict(task='segmentation'))
    assert json.loads(path.with_suffix('.json').read_text()) == dict(task='detection')


def test_summary_is_mean_and_sample_deviation():
    rows = [dict(backbone='a', m='1'), dict(backbone='a', m='3'), dict(backbone='b', m='5')]
    assert summarize(rows, ['m']) == {'a': {'m': (2.0, pytest.approx(2**0.5))}, 'b': {'m': (5.0, 0.0)}}


def test_profile_counts_what_a_layer_costs():
    costs = profile_backbone(backbone_config('convnext'), (64, 64), rounds=1)
    assert costs['params_m'] == pytest.approx(2.668, abs=1e-3)
    assert costs['gmacs'] > 0 and costs['forward_ms'] > 0 and costs['saved_mib'] > 0
    w, x = torch.ones(10, requires_grad=True), torch.ones(10)
    assert saved_bytes(lambda: x * w, but=[w]) == 40
