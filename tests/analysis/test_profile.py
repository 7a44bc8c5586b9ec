"""Costs of the parts of a model whose counts are known."""

from __future__ import annotations

import csv

import pytest
import torch
from torch import nn

from mmhyena.analysis.parts import PartWatch, parts_of
from mmhyena.analysis.profile import profile_stages, saved_bytes
from mmhyena.backbones import HyenaFormer
from mmhyena.cli.flops import main


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 16)])
        self.stages = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(16, 16)])
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        for downsample, stage in zip(self.downsample_layers, self.stages):
            x = stage(downsample(x))
        return self.norm(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(16, 3, bias=False)

    def forward(self, x):
        return self.head.forward(self.backbone(x)) @ torch.ones(3, 2)  # as the toolkits call heads


def test_parts_have_the_counts_of_their_layers():
    model, x = Model(), torch.randn(10, 4)
    rows = {row['part']: row for row in profile_stages(model, lambda model: model(x), rounds=1)}
    assert list(rows) == ['stage 1', 'stage 2', 'backbone, other', 'head', 'between']
    found = {name: (1e6 * row['params_m'], 1e9 * row['gmacs']) for name, row in rows.items()}
    want = {
        'stage 1': (4 * 8 + 8 + 8 * 8 + 8, 10 * (4 * 8 + 8 * 8)),
        'stage 2': (8 * 16 + 16 + 16 * 16 + 16, 10 * (8 * 16 + 16 * 16)),
        'backbone, other': (32, 0),
        'head': (48, 10 * 16 * 3),
        'between': (0, 10 * 3 * 2),
    }
    assert found == {name: pytest.approx(counts) for name, counts in want.items()}
    # The input of every layer is kept, that of the ReLU as its output.
    saved = {name: row['saved_mib'] * 2**20 for name, row in rows.items()}
    assert saved['stage 1'] == 4 * 10 * (4 + 8 + 8) and saved['stage 2'] == 4 * 10 * 16
    assert saved['head'] == 4 * 10 * 16
    assert all(row['forward_ms'] > 0 for row in rows.values())
    assert 'forward' not in vars(model.head)


def test_the_parts_of_a_pyramid_add_up():
    model = HyenaFormer(arch='hpx_former_tiny').train()
    x = torch.randn(1, 3, 64, 64)
    rows = profile_stages(model, lambda model: model(x), rounds=1)
    assert [row['part'] for row in rows] == [f'stage {i}' for i in range(1, 5)] + ['backbone, other', 'between']
    assert 1e6 * sum(row['params_m'] for row in rows) == pytest.approx(sum(p.numel() for p in model.parameters()))
    total = saved_bytes(lambda: model.eval()(x), but=model.parameters())
    assert sum(row['saved_mib'] for row in rows) * 2**20 == pytest.approx(total)


def test_a_backbone_without_stages_has_its_children_for_parts():
    plain = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert list(parts_of(plain)) == ['0', '1', 'backbone, other']
    with pytest.raises(RuntimeError), PartWatch(parts_of(plain)) as watch:
        plain(torch.randn(1, 3))
    assert watch.part == '' and 'forward' not in vars(plain[0])


def test_the_tool_writes_a_row_per_part(tmp_path, capsys):
    out = tmp_path / 'stages.csv'
    assert main(['--arch', 'hpx_former_tiny', '--shape', '64', '--per-stage', '--out', str(out)]) == 0
    with out.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['part'] for row in rows] == [f'stage {i}' for i in range(1, 5)] + ['backbone, other', 'head', 'between']
    assert 'stage 4' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(['--arch', 'hpx_former_tiny', '--per-stage', '--count', 'official'])
