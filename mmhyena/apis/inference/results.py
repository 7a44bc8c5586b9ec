"""Typed results of inference, one class for each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import mmcv
import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

__all__ = ['Classification', 'Detection', 'Result', 'Segmentation']


@dataclass(frozen=True, kw_only=True)
class Result(ABC):
    """What a model says about one image.

    Attributes:
        image: The image, BGR (H, W, 3), uint8.
        classes: Class names.
        source: File name of the image, or None.
        task: 'detection', 'segmentation' or 'classification'.
    """

    image: np.ndarray
    classes: tuple[str, ...]
    source: str | None = None
    task: ClassVar[str]

    def name(self, label: int) -> str:
        """Return the name of a class, or its number where the names end."""
        return self.classes[label] if label < len(self.classes) else str(label)

    def enlarged(self, factor: int) -> Result:
        """Return the same result on an image ``factor`` times as large."""
        if factor == 1:
            return self
        height, width = self.image.shape[:2]
        image = mmcv.imresize(self.image, (width * factor, height * factor), interpolation='bicubic')
        return replace(self, image=image)

    @abstractmethod
    def to_sample(self) -> Any:
        """Return the toolkit's data sample, as its visualizer wants it."""

    def to_dict(self) -> dict[str, Any]:
        """Return what json can hold: ``task``, ``image`` (the source), ``height``, ``width`` and the findings."""
        height, width = self.image.shape[:2]
        return dict(task=self.task, image=self.source, height=height, width=width)


@dataclass(frozen=True, kw_only=True)
class Detection(Result):
    """Objects found in one image, by falling score.

    Attributes:
        boxes: (n, 4), float32: x1, y1, x2, y2 in pixels.
        scores: (n,), float32, in [0, 1].
        labels: (n,), int64: indices into ``classes``.
        masks: (n, H, W), bool, or None if the model predicts no masks.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None
    task: ClassVar[str] = 'detection'

    @classmethod
    def from_sample(cls, sample: Any, **common: Any) -> Detection:
        """Build a result from mmdet's ``DetDataSample`` and the attributes of :class:`Result`."""
        found = sample.pred_instances.cpu().numpy()
        order = np.argsort(-found.scores, kind='stable')
        return cls(
            boxes=found.bboxes[order],
            scores=found.scores[order],
            labels=found.labels[order],
            masks=found.masks[order].astype(bool) if 'masks' in found else None,
            **common,
        )

    def to_sample(self) -> Any:
        """Return mmdet's ``DetDataSample``."""
        from mmdet.structures import DetDataSample

        fields = dict(bboxes=self.boxes, scores=self.scores, labels=self.labels)
        if self.masks is not None:
            fields['masks'] = self.masks
        instances = InstanceData(**{key: torch.from_numpy(value) for key, value in fields.items()})
        return DetDataSample(pred_instances=instances)

    def enlarged(self, factor: int) -> Detection:
        """Return the same result on an image ``factor`` times as large."""
        masks = None if self.masks is None else _repeat(self.masks, factor)
        larger = cast(Detection, super().enlarged(factor))
        return replace(larger, boxes=self.boxes * np.float32(factor), masks=masks)

    def to_dict(self, score_thr: float = 0.0) -> dict[str, Any]:
        """Return what json can hold, with ``objects``; masks as COCO run-length encodings.

        Args:
            score_thr: Objects with a lower score are left out.
        """
        objects = []
        for i in np.flatnonzero(self.scores >= score_thr):
            label = int(self.labels[i])
            entry = dict(
                label=label,
                name=self.name(label),
                score=float(self.scores[i]),
                bbox=[float(value) for value in self.boxes[i]],
            )
            if self.masks is not None:
                entry['mask'] = _encode_mask(self.masks[i])
            objects.append(entry)
        return super().to_dict() | dict(objects=objects)


@dataclass(frozen=True, kw_only=True)
class Segmentation(Result):
    """The class of every pixel of one image.

    Attributes:
        class_map: (H, W), int64: indices into ``classes``.
        palette: A color, RGB in 0 to 255, for each class.
    """

    class_map: np.ndarray
    palette: tuple[tuple[int, int, int], ...]
    task: ClassVar[str] = 'segmentation'

    @classmethod
    def from_sample(cls, sample: Any, **common: Any) -> Segmentation:
        """Build a result from mmseg's ``SegDataSample`` and the attributes of :class:`Result`, and the palette."""
        return cls(class_map=sample.pred_sem_seg.data[0].cpu().numpy().astype(np.int64), **common)

    def to_sample(self) -> Any:
        """Return mmseg's ``SegDataSample``."""
        from mmseg.structures import SegDataSample

        return SegDataSample(pred_sem_seg=PixelData(data=torch.from_numpy(self.class_map)[None]))

    def enlarged(self, factor: int) -> Segmentation:
        """Return the same result on an image ``factor`` times as large."""
        larger = cast(Segmentation, super().enlarged(factor))
        return replace(larger, class_map=_repeat(self.class_map, factor))

    @property
    def shares(self) -> dict[int, float]:
        """Which part of the pixels each class that occurs has, by falling share."""
        labels, counts = np.unique(self.class_map, return_counts=True)
        order = np.argsort(-counts, kind='stable')
        return {int(labels[i]): float(counts[i] / self.class_map.size) for i in order}

    def to_dict(self) -> dict[str, Any]:
        """Return what json can hold, with ``classes``: those that occur, their share and mask (COCO run lengths)."""
        classes = [
            dict(label=label, name=self.name(label), share=share, mask=_encode_mask(self.class_map == label))
            for label, share in self.shares.items()
        ]
        return super().to_dict() | dict(classes=classes)


@dataclass(frozen=True, kw_only=True)
class Classification(Result):
    """The classes of one image.

    Attributes:
        scores: (K,), float32, in [0, 1]: one for each class. Their sum is 1 unless the model gives several labels.
    """

    scores: np.ndarray
    task: ClassVar[str] = 'classification'

    @classmethod
    def from_sample(cls, sample: Any, **common: Any) -> Classification:
        """Build a result from mmpretrain's ``DataSample`` and the attributes of :class:`Result`."""
        return cls(scores=sample.pred_score.float().cpu().numpy(), **common)

    def top(self, k: int = 5) -> list[tuple[int, str, float]]:
        """Return label, name and score of the ``k`` most likely classes, by falling score."""
        order = np.argsort(-self.scores, kind='stable')[:k]
        return [(int(label), self.name(int(label)), float(self.scores[label])) for label in order]

    def to_sample(self, top_k: int = 5) -> Any:
        """Return mmpretrain's ``DataSample``, with the ``top_k`` most likely classes as its labels."""
        from mmpretrain.structures import DataSample

        labels = [label for label, _, _ in self.top(top_k)]
        return DataSample().set_pred_score(torch.from_numpy(self.scores)).set_pred_label(labels)

    def to_dict(self, top_k: int = 5) -> dict[str, Any]:
        """Return what json can hold, with ``classes``: the ``top_k`` most likely ones and their scores."""
        classes = [dict(label=label, name=name, score=score) for label, name, score in self.top(top_k)]
        return super().to_dict() | dict(classes=classes)


def _repeat(array: np.ndarray, factor: int) -> np.ndarray:
    """Repeat the pixels of an array (..., H, W)."""
    return array.repeat(factor, axis=-2).repeat(factor, axis=-1)


def _encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return the COCO run-length encoding of a mask (H, W)."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(n) for n in encoded['size']], counts=encoded['counts'].decode())
