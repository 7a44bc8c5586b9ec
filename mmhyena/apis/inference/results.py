"""Typed results of inference, one class per task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mmhyena.visualization import class_name

__all__ = ['Classification', 'Detection', 'Result', 'Segmentation']


@dataclass(frozen=True, kw_only=True)
class Result:
    """Prediction for one image or video frame.

    Attributes:
        image: The image, BGR (H, W, 3), uint8.
        classes: Class names.
        source: File name of the image or video, or None.
        frame: Index of the frame in its video, from 0; None for an image.
        seconds: Time of the frame in its video; None for an image.
        task: 'detection', 'segmentation' or 'classification'.
    """

    image: np.ndarray
    classes: tuple[str, ...]
    source: str | None = None
    frame: int | None = None
    seconds: float | None = None
    task: ClassVar[str]

    def name(self, label: int) -> str:
        """Return the name of a class, or its index if it has no name."""
        return class_name(self.classes, label)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable dict: ``task``, ``image`` (the source), ``height``, ``width`` and the prediction.

        A video frame has ``video``, ``frame`` and ``seconds`` in place of ``image``.
        """
        height, width = self.image.shape[:2]
        origin: dict[str, Any] = dict(image=self.source)
        if self.frame is not None:
            origin = dict(video=self.source, frame=self.frame, seconds=self.seconds)
        return dict(task=self.task, **origin, height=height, width=width)


@dataclass(frozen=True, kw_only=True)
class Detection(Result):
    """Objects detected in one image, in descending order of score.

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

    def to_dict(self, score_thr: float = 0.0) -> dict[str, Any]:
        """Return a JSON-serializable dict with ``objects``; masks are COCO run-length encodings.

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
        palette: RGB color in [0, 255] per class.
    """

    class_map: np.ndarray
    palette: tuple[tuple[int, int, int], ...]
    task: ClassVar[str] = 'segmentation'

    @classmethod
    def from_sample(cls, sample: Any, **common: Any) -> Segmentation:
        """Build a result from mmseg's ``SegDataSample`` and the attributes of :class:`Result`, and the palette."""
        return cls(class_map=sample.pred_sem_seg.data[0].cpu().numpy().astype(np.int64), **common)

    @property
    def shares(self) -> dict[int, float]:
        """Fraction of the pixels per class that occurs, in descending order."""
        labels, counts = np.unique(self.class_map, return_counts=True)
        order = np.argsort(-counts, kind='stable')
        return {int(labels[i]): float(counts[i] / self.class_map.size) for i in order}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable dict with ``classes``: those that occur, their share and COCO-encoded mask."""
        classes = [
            dict(label=label, name=self.name(label), share=share, mask=_encode_mask(self.class_map == label))
            for label, share in self.shares.items()
        ]
        return super().to_dict() | dict(classes=classes)


@dataclass(frozen=True, kw_only=True)
class Classification(Result):
    """Class scores of one image.

    Attributes:
        scores: (K,), float32, in [0, 1], one per class. They sum to 1 unless the model is a multi-label one.
    """

    scores: np.ndarray
    task: ClassVar[str] = 'classification'

    @classmethod
    def from_sample(cls, sample: Any, **common: Any) -> Classification:
        """Build a result from mmpretrain's ``DataSample`` and the attributes of :class:`Result`."""
        return cls(scores=sample.pred_score.float().cpu().numpy(), **common)

    def top(self, k: int = 5) -> list[tuple[int, str, float]]:
        """Return label, name and score of the ``k`` most likely classes, in descending order of score."""
        order = np.argsort(-self.scores, kind='stable')[:k]
        return [(int(label), self.name(int(label)), float(self.scores[label])) for label in order]

    def to_dict(self, top_k: int = 5) -> dict[str, Any]:
        """Return a JSON-serializable dict with ``classes``: the ``top_k`` most likely ones and their scores."""
        classes = [dict(label=label, name=name, score=score) for label, name, score in self.top(top_k)]
        return super().to_dict() | dict(classes=classes)


def _encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return the COCO run-length encoding of a mask (H, W)."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(n) for n in encoded['size']], counts=encoded['counts'].decode())
