"""Test-time augmentation for detectors with masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor
from torchvision.ops import batched_nms

from mmhyena.registry import MODELS

__all__ = ['InstanceTTAModel']


@MODELS.register_module()
class InstanceTTAModel(BaseTTAModel):
    """Merge the boxes, and masks where there are any, that a detector predicts on flipped and resized views.

    mmdet's ``DetTTAModel`` merges boxes only. Predictions of all views are mapped back, pooled, and thinned by
    class-wise non-maximum suppression on the boxes; each box that stays keeps its own mask.

    Args:
        tta_cfg: ``nms`` with its ``iou_threshold``, and ``max_per_img``.
        **kwargs: ``module`` and ``data_preprocessor`` of :class:`mmengine.model.BaseTTAModel`.
    """

    def __init__(self, tta_cfg: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.iou_threshold = float(tta_cfg['nms']['iou_threshold'])
        self.max_per_img = int(tta_cfg['max_per_img'])

    def merge_preds(self, data_samples_list: Sequence[Sequence[BaseDataElement]]) -> list[BaseDataElement]:
        """Merge the views of each image.

        Args:
            data_samples_list: For every image the samples of its views, each with ``pred_instances``.

        Returns:
            One sample per image, with the merged ``pred_instances``.
        """
        return [self._merge_views(views) for views in data_samples_list]

    def _merge_views(self, views: Sequence[BaseDataElement]) -> BaseDataElement:
        pooled = InstanceData.cat([_unflip(view) for view in views])
        keep = batched_nms(pooled.bboxes, pooled.scores, pooled.labels, self.iou_threshold)[: self.max_per_img]
        merged = views[0]
        merged.pred_instances = pooled[keep]
        return merged


def _unflip(view: BaseDataElement) -> InstanceData:
    """Return the predictions of a view in the coordinates of the unflipped image.

    Raises:
        ValueError: For a flip other than horizontal, vertical or diagonal.
    """
    predictions = view.pred_instances
    if not view.metainfo.get('flip', False):
        return predictions
    direction = view.metainfo['flip_direction']
    if direction not in ('horizontal', 'vertical', 'diagonal'):
        raise ValueError(f'unknown flip direction {direction!r}')
    height, width = view.metainfo['ori_shape'][:2]
    boxes = predictions.bboxes
    axes: list[int] = []
    if direction != 'vertical':
        boxes, axes = _mirror(boxes, 0, width), [*axes, -1]
    if direction != 'horizontal':
        boxes, axes = _mirror(boxes, 1, height), [*axes, -2]
    fields = dict(predictions.items())
    fields['bboxes'] = boxes
    if 'masks' in fields:
        fields['masks'] = torch.flip(fields['masks'], axes)  # (n, H, W)
    return InstanceData(**fields)


def _mirror(boxes: Tensor, axis: int, size: int) -> Tensor:
    """Mirror xyxy boxes (n, 4) along x (axis 0) or y (axis 1) of an image ``size`` pixels long there."""
    boxes = boxes.clone()
    boxes[:, [axis, axis + 2]] = size - boxes[:, [axis + 2, axis]]
    return boxes
