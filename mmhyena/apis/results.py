"""Typed results of inference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.structures import InstanceData

__all__ = ['Detection']


@dataclass(frozen=True)
class Detection:
    """Objects found in one image, by falling score.

    Attributes:
        image: The image, BGR (H, W, 3), uint8.
        boxes: (n, 4), float32: x1, y1, x2, y2 in pixels.
        scores: (n,), float32, in [0, 1].
        labels: (n,), int64: indices into ``classes``.
        masks: (n, H, W), bool, or None if the model predicts no masks.
        classes: Class names.
        source: File name of the image, or None.
    """

    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    classes: tuple[str, ...]
    source: str | None = None

    @classmethod
    def from_sample(cls, sample: Any, image: np.ndarray, classes: tuple[str, ...], source: str | None) -> Detection:
        """Build a result from mmdet's ``DetDataSample``."""
        found = sample.pred_instances.cpu().numpy()
        order = np.argsort(-found.scores, kind='stable')
        masks = found.masks[order].astype(bool) if 'masks' in found else None
        return cls(image, found.bboxes[order], found.scores[order], found.labels[order], masks, classes, source)

    def to_sample(self) -> Any:
        """Return mmdet's ``DetDataSample``, as its visualizer wants it."""
        from mmdet.structures import DetDataSample

        fields = dict(bboxes=self.boxes, scores=self.scores, labels=self.labels)
        if self.masks is not None:
            fields['masks'] = self.masks
        instances = InstanceData(**{key: torch.from_numpy(value) for key, value in fields.items()})
        return DetDataSample(pred_instances=instances)

    def enlarged(self, factor: int) -> Detection:
        """Return the same result on an image ``factor`` times as large."""
        if factor == 1:
            return self
        height, width = self.image.shape[:2]
        masks = None if self.masks is None else self.masks.repeat(factor, axis=1).repeat(factor, axis=2)
        image = mmcv.imresize(self.image, (width * factor, height * factor), interpolation='bicubic')
        return replace(self, image=image, boxes=self.boxes * np.float32(factor), masks=masks)

    def to_dict(self, score_thr: float = 0.0) -> dict[str, Any]:
        """Return what json can hold; masks as COCO run-length encodings.

        Args:
            score_thr: Objects with a lower score are left out.
        """
        height, width = self.image.shape[:2]
        objects = []
        for i in np.flatnonzero(self.scores >= score_thr):
            label = int(self.labels[i])
            entry = dict(
                label=label,
                name=self.classes[label],
                score=float(self.scores[i]),
                bbox=[float(value) for value in self.boxes[i]],
            )
            if self.masks is not None:
                entry['mask'] = _encode_mask(self.masks[i])
            objects.append(entry)
        return dict(image=self.source, height=height, width=width, task='detection', objects=objects)


def _encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return the COCO run-length encoding of a mask (H, W)."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(n) for n in encoded['size']], counts=encoded['counts'].decode())
