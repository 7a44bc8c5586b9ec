"""Agreement of predictions in bfloat16 and float32: what is compared, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

for package in ('mmpretrain', 'mmseg', 'mmdet'):
    pytest.importorskip(package)

from benchmarks import amp_agreement  # noqa: E402
from mmhyena.apis.inference.results import Classification, Detection, Segmentation  # noqa: E402
from mmhyena.errors import UserError  # noqa: E402

COMMON = dict(image=np.zeros((2, 3, 3), np.uint8), classes=('a', 'b'))


class Constant:
    """An inferencer whose predictions differ in one of four images under autocast."""

    def __init__(self, config: str, checkpoint: str, device: str, amp: bool) -> None:
        self.amp = amp

    def stream(self, files: list[Path], batch_size: int) -> list[Classification]:
        wrong = [self.amp and file.stem == '3' for file in files]
        return [Classification(scores=np.array([float(bad), float(not bad)]), **COMMON) for bad in wrong]


def test_share_of_equal_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    for number in range(4):
        (tmp_path / f'{number}.jpg').touch()
    monkeypatch.setattr(amp_agreement, 'Inferencer', Constant)
    amp_agreement.run(amp_agreement.parse_args(['config.py', 'x.pth', str(tmp_path), '--batch-size', '3']))
    assert 'predictions 4, agreement 0.75000' in capsys.readouterr().out


def test_pixels_count_one_by_one_and_boxes_are_refused(tmp_path: Path):
    pixels = Segmentation(class_map=np.array([[0, 1, 1], [1, 0, 0]]), palette=((0, 0, 0),) * 2, **COMMON)
    assert amp_agreement.classes_of(pixels).tolist() == [0, 1, 1, 1, 0, 0]
    boxes = Detection(boxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int), **COMMON)
    with pytest.raises(UserError, match='classifiers and segmentors'):
        amp_agreement.classes_of(boxes)
    with pytest.raises(UserError, match='no image at'):
        amp_agreement.run(amp_agreement.parse_args(['config.py', 'x.pth', str(tmp_path)]))
