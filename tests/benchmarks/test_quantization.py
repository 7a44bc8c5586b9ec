"""Every form of lower precision is measured against the float32 file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from torch import Tensor, nn

for package in ('mmpretrain', 'onnx', 'onnxruntime', 'onnxscript'):
    pytest.importorskip(package)

from benchmarks import quantization  # noqa: E402
from mmhyena.apis.export import ExportTarget  # noqa: E402


class Classifier(nn.Module):
    """Two linear layers with biases on four tokens, and five scores."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3 * 8 * 48, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.layers(image.view(1, 4, -1)).mean(1).softmax(1),)


@pytest.mark.slow
def test_rows_of_all_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def build(config: Path) -> ExportTarget:
        return ExportTarget(Classifier().eval().requires_grad_(False), 'classification', {})

    monkeypatch.setattr(quantization, 'build_for_export', build)
    out = tmp_path / 'rows.csv'
    assert quantization.main(['model.py', '--size', '32x48', '--rounds', '2', '--csv', str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row['form'] for row in rows] == list(quantization.FORMS)
    for row in rows:
        assert 1e-4 < float(row['rel_error']) < 0.2  # lower precision, and the same network
    assert all(float(row['file_mb']) < 0.5 * float(row['float32_mb']) for row in rows[:2])
