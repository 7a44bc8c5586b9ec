"""Merging of flipped views, with masks."""

from __future__ import annotations

import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement, InstanceData
from torch import nn

from mmhyena.registry import MODELS

H, W = 10, 16


class Module(nn.Module):
    """What a test-time augmentation model insists on."""

    data_preprocessor = BaseDataPreprocessor()

    def test_step(self, data):
        raise AssertionError('merging runs no model')


@pytest.fixture
def tta():
    config = dict(type='InstanceTTAModel', tta_cfg=dict(nms=dict(iou_threshold=0.5), max_per_img=3), module=Module())
    return MODELS.build(config)


def instances(boxes: list[list[int]], scores: list[float], labels: list[int], masks: bool = True) -> InstanceData:
    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels, dtype=torch.long),
    )
    if masks:
        found.masks = torch.zeros(len(boxes), H, W, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(found.masks, boxes):
            mask[y1:y2, x1:x2] = True
    return found


def view(found: InstanceData, direction: str | None) -> BaseDataElement:
    sample = BaseDataElement(metainfo=dict(ori_shape=(H, W), flip=direction is not None, flip_direction=direction))
    sample.pred_instances = found
    return sample


def mirrored(box: list[int], direction: str) -> list[int]:
    x1, y1, x2, y2 = box
    if direction in ('horizontal', 'diagonal'):
        x1, x2 = W - x2, W - x1
    if direction in ('vertical', 'diagonal'):
        y1, y2 = H - y2, H - y1
    return [x1, y1, x2, y2]


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('masks', [True, False])
def test_views_of_one_object_become_one(tta, direction, masks):
    box = [1, 2, 6, 8]
    plain = view(instances([box], [0.6], [1], masks), None)
    flipped = view(instances([mirrored(box, direction)], [0.9], [1], masks), direction)
    (merged,) = tta.merge_preds([[plain, flipped]])
    found = merged.pred_instances
    assert found.bboxes.tolist() == [box]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert ('masks' in found) == masks
    if masks:
        torch.testing.assert_close(found.masks, instances([box], [0], [0]).masks)


def test_classes_are_kept_apart_and_the_best_stay(tta):
    box = [1, 2, 6, 8]
    plain = view(instances([box, [8, 1, 12, 5]], [0.6, 0.2], [1, 0]), None)
    flipped = view(instances([mirrored(box, 'horizontal'), [0, 0, 3, 3]], [0.9, 0.1], [0, 2]), 'horizontal')
    (merged,) = tta.merge_preds([[plain, flipped]])
    assert merged.pred_instances.scores.tolist() == pytest.approx([0.9, 0.6, 0.2])
    assert merged.pred_instances.labels.tolist() == [0, 1, 0]


def test_nothing_found(tta):
    (merged,) = tta.merge_preds([[view(instances([], [], []), None), view(instances([], [], []), 'horizontal')]])
    assert len(merged.pred_instances) == 0


def test_unknown_direction_is_an_error(tta):
    with pytest.raises(ValueError, match='sideways'):
        tta.merge_preds([[view(instances([[0, 0, 1, 1]], [1.0], [0]), 'sideways')]])
