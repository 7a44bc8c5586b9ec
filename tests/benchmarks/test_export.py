"""Exported files are timed only if they agree, and the rows say what was measured."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

for package in ('mmpretrain', 'onnx', 'onnxruntime', 'onnxscript'):
    pytest.importorskip(package)

from benchmarks import export as benchmark  # noqa: E402
from mmhyena.apis.export import ExportTarget  # noqa: E402
from mmhyena.backbones import HyenaFormer  # noqa: E402

CONFIG = 'hpx-former-tiny_shapes.py'


class Classifier(nn.Module):
    """A backbone of one block per stage, and scores of five classes."""

    def __init__(self) -> None:
        super().__init__()
        settings = HyenaFormer.arch_settings['hpx_former_tiny']
        self.backbone = HyenaFormer(dict(settings, depths=(1, 1, 1, 1)))
        self.head = nn.LazyLinear(5)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.head(self.backbone(image)[-1].mean((2, 3))).softmax(1),)


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch):
    def build(config: Path) -> ExportTarget:
        model = Classifier().eval()
        model(torch.zeros(1, 3, 32, 32))
        return ExportTarget(model.requires_grad_(False), 'classification', {})

    monkeypatch.setattr(benchmark, 'build_for_export', build)


def test_rows_carry_what_was_measured(tmp_path: Path):
    out = tmp_path / 'rows.csv'
    assert benchmark.main([CONFIG, '--size', '32x64', '--rounds', '2', '--csv', str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row['form'] for row in rows] == ['ONNX', 'torch.export']
    for row in rows:
        assert (row['config'], row['task'], row['size']) == ('hpx-former-tiny_shapes', 'classification', '32x64')
        assert 0 < float(row['rel_error']) < 1e-4 and float(row['abs_error']) > 0
        assert float(row['file_mb']) > 0.1 and float(row['speed']) > 0
        assert row['onnxruntime'] and '--size 32x64' in row['command']


def test_no_speed_of_unequal_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    right = benchmark.load_exported
    monkeypatch.setattr(benchmark, 'load_exported', lambda file: lambda image: [s**1.01 for s in right(file)(image)])
    monkeypatch.setattr(benchmark, 'time_pairs', lambda *args, **kwargs: pytest.fail('timed'))
    out = tmp_path / 'rows.csv'
    assert benchmark.main([CONFIG, '--size', '32', '--form', 'torch.export', '--csv', str(out)]) == 2
    assert 'differs by 1.0e-02 (limit 1e-04): no speed of unequal outputs is shown' in capsys.readouterr().err
    assert not out.exists()


def test_errors_of_classifiers_are_of_logits():
    logits = torch.tensor([[1e-3, 0.0, 0.0], [0.0, 2e-3, 0.0]])
    (centered,) = benchmark.comparable([logits.softmax(1)], 'classification')
    torch.testing.assert_close(centered, logits - logits.mean(1, keepdim=True), rtol=1e-3, atol=1e-7)


def test_default_cases_are_configs_of_all_tasks():
    cases = list(benchmark.default_cases())
    assert all(case.config.is_file() for case in cases)
    assert {case.form for case in cases} == set(benchmark.FORMS)
    assert any('upernet' in case.config.name for case in cases) and any('mask' in case.config.name for case in cases)
