"""bfloat16 at inference: the answers of float32 for the three tasks, what is said, and what stays in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from mmhyena.apis import Inferencer, amp
from mmhyena.apis.amp import bfloat16_units, use_bfloat16
from mmhyena.ops import autocast_dtype


class Spy(nn.Module):
    """Returns predictions of a linear layer, of the type that it computes in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, fails=False):
        scores = self.linear(x)
        self.seen = scores.dtype
        if fails:
            raise RuntimeError('no')
        return [dict(scores=scores, labels=torch.tensor([1])), InstanceData(scores=scores, labels=scores.argmax(1))]


def test_computes_in_bfloat16_and_returns_float32():
    model, x = Spy().eval(), torch.randn(3, 4)
    use_bfloat16(model, 'cpu')
    first, second = model(x)
    assert model.seen == torch.bfloat16
    assert first['scores'].dtype == second.scores.dtype == torch.float32
    assert first['labels'].dtype == second.labels.dtype == torch.int64
    with pytest.raises(RuntimeError, match='no'):
        model(x, fails=True)
    assert autocast_dtype(x) is None


@pytest.mark.parametrize(
    ('text', 'units'),
    [
        ('flags\t\t: fpu avx512f avx512_bf16\nmodel: amx_bf16\n', ['AVX512-BF16']),
        ('flags : avx512_bf16 amx_bf16 amx_tile\n', ['AMX', 'AVX512-BF16']),
        ('Features : fp asimd bf16\n', ['BF16 (Arm)']),
        ('flags : avx2\n', []),
    ],
)
def test_units_are_detected_and_said(text, units, tmp_path, monkeypatch):
    monkeypatch.setattr(amp, '_CPUINFO', tmp_path / 'cpuinfo')
    assert bfloat16_units() == []
    (tmp_path / 'cpuinfo').write_text(text)
    assert bfloat16_units() == units
    assert (' and '.join(units) or 'it works, but is likely slower') in amp._expectation('cpu')


def test_regions_are_pooled_in_float32():
    class Pool(nn.Module):
        roi_layers = ()

        def forward(self, feats, rois):
            assert autocast_dtype(rois) is None
            assert {tensor.dtype for tensor in (*feats, rois)} == {torch.float32}
            return rois.type_as(feats[0])

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.pool = nn.Linear(4, 4), Pool()

        def forward(self, x):
            return self.pool((self.linear(x),), torch.tensor([300.25]))

    model = Detector().eval()
    use_bfloat16(model, 'cpu')
    assert model(torch.randn(2, 4)).item() == 300.25


@pytest.mark.slow
def test_inferencer_agrees_with_float32(task, images, config, weights):
    files = sorted(images.iterdir())
    exact, rounded = (Inferencer(config(task), weights(task), device='cpu', amp=amp)(files) for amp in (False, True))
    for want, got in zip(exact, rounded, strict=True):
        if task == 'classification':
            assert got.scores.dtype == np.float32 and want.scores.argmax() == got.scores.argmax()
            np.testing.assert_allclose(got.scores, want.scores, atol=0.02)
            assert not np.array_equal(got.scores, want.scores)
        elif task == 'segmentation':
            assert (got.class_map == want.class_map).mean() > 0.95
        else:
            assert len(got.boxes) > 0 and got.boxes.dtype == np.float32
            assert abs(len(got.boxes) - len(want.boxes)) <= max(2, len(want.boxes) // 4)
