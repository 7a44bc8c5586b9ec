"""Accuracy over binary attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmhyena.registry import METRICS

__all__ = ['AttributeAccuracy']


@METRICS.register_module()
class AttributeAccuracy(BaseMetric):
    """Share of right answers, in per cent, averaged over the attributes of a multi-label data set.

    The usual figure for CelebA (Liu et al., ICCV 2015): every attribute of every image counts, present or not.

    Args:
        threshold: Scores from here on say that an attribute is present.
        collect_device: ``'cpu'`` or ``'gpu'``, where results of several processes meet.
        prefix: Prefix of the metric's name.
    """

    default_prefix = 'attributes'

    def __init__(self, threshold: float = 0.5, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.threshold = threshold

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep which answers are right, ``(C,)`` a sample, from mmpretrain's ``pred_score`` and ``gt_score``."""
        for sample in data_samples:
            found = sample['pred_score'].cpu() >= self.threshold
            self.results.append(found == (sample['gt_score'].cpu() > 0.5))

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Return the mean accuracy over the attributes, all images together."""
        return dict(mean_accuracy=100 * torch.stack(results).double().mean().item())
