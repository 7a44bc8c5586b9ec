"""The data samples of mmdet, mmseg and mmpretrain as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmhyena.visualization.colors import full_palette
from mmhyena.visualization.drawing import class_name, draw_classes, draw_objects, draw_regions

__all__ = ['draw_sample']


def draw_sample(
    image: np.ndarray, sample: Any, meta: Mapping[str, Any], score_thr: float = 0.3, top_k: int = 1
) -> np.ndarray | None:
    """Draw a prediction and, at its left, the ground truth where the data sample holds one.

    Args:
        image: RGB (H, W, 3), uint8.
        sample: A data sample of mmdet, mmseg or mmpretrain, with a prediction.
        meta: ``classes`` and ``palette`` of the data set, where they are known.
        score_thr: Detected objects with a lower score are left out.
        top_k: Number of classes written on a classified image.

    Returns:
        RGB (H, W, 3) or (H, 2 W, 3), uint8; None for a prediction of another kind, such as a panoptic one.
    """
    names = meta.get('classes') or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    if 'pred_score' in sample:
        return _draw_classification(image, sample, names, top_k)
    if 'pred_sem_seg' in sample and 'pred_panoptic_seg' not in sample:
        return _draw_segmentation(image, sample, names, meta.get('palette'))
    if 'pred_instances' in sample and 'pred_panoptic_seg' not in sample:
        return _draw_detection(image, sample, names, meta.get('palette'), score_thr)
    return None


def _draw_classification(image: np.ndarray, sample: Any, names: Sequence[str], top_k: int) -> np.ndarray:
    scores = sample.pred_score.float().cpu().numpy()
    order = np.argsort(-scores, kind='stable')[:top_k]
    lines = [(class_name(names, int(label)), float(scores[label])) for label in order]
    return draw_classes(image, lines)


def _draw_segmentation(image: np.ndarray, sample: Any, names: Sequence[str], palette: Any) -> np.ndarray:
    maps = [sample.pred_sem_seg.data[0].cpu().numpy()]
    if 'gt_sem_seg' in sample and sample.gt_sem_seg.shape == sample.pred_sem_seg.shape:
        maps.insert(0, sample.gt_sem_seg.data[0].cpu().numpy())
    names = names or [str(label) for label in range(int(max(one.max() for one in maps)) + 1)]
    colors = full_palette(palette, len(names))
    return np.concatenate([draw_regions(image, one, names, colors) for one in maps], axis=1)


def _draw_detection(image: np.ndarray, sample: Any, names: Sequence[str], palette: Any, score_thr: float) -> np.ndarray:
    found = sample.pred_instances.cpu()
    found = found[found.scores >= score_thr]
    found = found[found.scores.argsort(descending=True)]
    pictures = [_draw_instances(image, found, names, palette)]
    truth = sample.get('gt_instances')
    if truth is not None and 'bboxes' in truth and _has_size_of(image, truth):
        pictures.insert(0, _draw_instances(image, truth.cpu(), names, palette))
    return np.concatenate(pictures, axis=1)


def _has_size_of(image: np.ndarray, truth: Any) -> bool:
    """Whether annotations fit the image, which they do not after a pipeline that resizes them as well."""
    masks = truth.get('masks')
    return masks is None or len(masks) == 0 or _to_array(masks).shape[1:] == image.shape[:2]


def _draw_instances(image: np.ndarray, instances: Any, names: Sequence[str], palette: Any) -> np.ndarray:
    boxes = getattr(instances.bboxes, 'tensor', instances.bboxes)
    return draw_objects(
        image,
        np.asarray(boxes, dtype=np.float32),
        instances.labels.tolist(),
        names,
        palette,
        np.asarray(instances.scores) if 'scores' in instances else None,
        _to_array(instances.masks).astype(bool) if 'masks' in instances else None,
    )


def _to_array(masks: Any) -> np.ndarray:
    """Return mmdet's masks, or a tensor, as an array (n, H, W)."""
    return masks.to_ndarray() if hasattr(masks, 'to_ndarray') else np.asarray(masks)
