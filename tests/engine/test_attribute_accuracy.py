"""Accuracy over binary attributes, against counting by hand."""

import pytest
import torch

from mmhyena.registry import METRICS


def samples():
    scores = torch.tensor([[0.9, 0.2, 0.5], [0.1, 0.6, 0.4]])
    present = torch.tensor([[1, 0, 0], [1, 1, 0]])
    return [dict(pred_score=score, gt_score=truth) for score, truth in zip(scores, present)]


@pytest.mark.parametrize('threshold,right', [(0.5, 4), (0.55, 5), (0.05, 3)])
def test_share_of_right_answers(threshold, right):
    metric = METRICS.build(dict(type='mmhyena.AttributeAccuracy', threshold=threshold))
    for sample in samples():
        metric.process(None, [sample])
    assert metric.evaluate(2) == {'attributes/mean_accuracy': pytest.approx(100 * right / 6)}
