"""Feature maps as pictures, and class activation maps by the package grad-cam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmhyena.analysis.models import pooled_stages
from mmhyena.errors import UserError

__all__ = ['activation_map', 'principal_components']


def principal_components(feature: Tensor) -> tuple[np.ndarray, list[float]]:
    """Map the first three principal components over positions to red, green and blue.

    Args:
        feature: ``(C, H, W)``.

    Returns:
        Picture ``(H, W, 3)`` with every component stretched to [0, 1], and the three shares of the variance. A
        component without variance is 0 throughout.
    """
    channels, height, width = feature.shape
    rows = feature.detach().double().cpu().reshape(channels, -1).T  # (H * W, C)
    rows = rows - rows.mean(0)
    left, singular, _ = torch.linalg.svd(rows, full_matrices=False)
    variance = singular**2
    picture, shares = np.zeros((height, width, 3)), [0.0] * 3
    for index in range(min(3, len(singular))):
        share = float(variance[index] / variance.sum().clamp(min=1e-300))
        if share < 1e-12:
            break
        component = left[:, index].reshape(height, width).numpy()
        picture[..., index] = (component - component.min()) / (component.max() - component.min())
        shares[index] = share
    return picture, shares


class _Tapped(nn.Module):
    """A model as grad-cam wants it: the feature map of one level is the output of a module, scores are returned."""

    def __init__(self, model: Any, level: int, scores: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.level, self.scores = model, level, scores
        self.tap = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of normalized images ``(1, 3, H, W)``."""
        stages = pooled_stages(self.model.backbone)
        if stages:  # the map is what is pooled, not the vector that comes out
            self._check(len(stages))
            hook = stages[self.level].register_forward_hook(self._replace_stage)
        else:
            hook = self.model.backbone.register_forward_hook(self._replace)
        try:
            return self.scores(x)
        finally:
            hook.remove()

    def _check(self, levels: int) -> None:
        if not -levels <= self.level < levels:
            raise UserError(f'the backbone has {levels} feature maps, so there is no level {self.level}')

    def _replace_stage(self, _module: nn.Module, _inputs: Any, out: Tensor) -> Tensor:
        return self.tap(out.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, H, W, C)

    def _replace(self, _module: nn.Module, _inputs: Any, outputs: Any) -> tuple[Tensor, ...]:
        features = list(outputs)
        self._check(len(features))
        features[self.level] = self.tap(features[self.level])
        return tuple(features)


def activation_map(
    model: Any, task: str, x: Tensor, level: int = -1, category: int | None = None
) -> tuple[np.ndarray, dict]:
    """Return the class activation map of a feature map.

    Classification takes Grad-CAM of the class's score; segmentation Grad-CAM of the class's score summed over the
    region predicted as that class; detection EigenCAM, which needs no target (arXiv 1610.02391, 2008.00299).

    The map of a classifier whose backbone pools (``gap_before_final_norm``) is the one before pooling.

    Args:
        model: A classifier, detector or segmentor in evaluation mode.
        task: ``'classification'``, ``'detection'`` or ``'segmentation'``.
        x: Normalized image ``(1, 3, H, W)``.
        level: Which feature map of the backbone.
        category: Index of the class. Default: the predicted one; in segmentation that of the second largest region,
            since the largest is most often the background, or of the only one.

    Returns:
        Map ``(H, W)`` in [0, 1], and method, class and level.

    Raises:
        UserError: If grad-cam is not installed, or the class or level does not exist, or covers no pixel.
    """
    try:
        from pytorch_grad_cam import EigenCAM, GradCAM
    except ImportError as error:
        raise UserError(f"class activation maps need grad-cam: pip install 'mmhyena[cam]' ({error})") from None
    scores = partial(_SCORES[task], model)
    if task != 'detection':
        with torch.no_grad():
            category, target = _target(scores(x), category)
        method = GradCAM
    elif category is None:
        method, target = EigenCAM, torch.sum
    else:
        raise UserError('EigenCAM of a detector has no target class: leave the class out')
    tapped = _Tapped(model, level, scores)
    with torch.enable_grad(), method(model=tapped, target_layers=[tapped.tap]) as cam:
        heat = cam(input_tensor=x.detach().clone().requires_grad_(), targets=[target])[0]
    model.zero_grad(set_to_none=True)
    return heat, dict(task=task, method=method.__name__, category=category, level=level)


def _class_scores(model: Any, x: Tensor) -> Tensor:
    return model(x, mode='tensor')


def _pixel_scores(model: Any, x: Tensor) -> Tensor:
    shape = tuple(x.shape[-2:])
    return model.encode_decode(x, [dict(ori_shape=shape, img_shape=shape, pad_shape=shape, batch_input_shape=shape)])


def _last_features(model: Any, x: Tensor) -> Tensor:
    return model.backbone(x)[-1]


#: What grad-cam takes for the output of a model, by task; EigenCAM does not look at it.
_SCORES = dict(classification=_class_scores, segmentation=_pixel_scores, detection=_last_features)


def _target(scores: Tensor, category: int | None) -> tuple[int, Any]:
    """Return the class to explain and grad-cam's target for it, of scores ``(1, K)`` or ``(1, K, H, W)``."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget, SemanticSegmentationTarget

    labels = scores[0].argmax(0).cpu()
    if category is None:
        order = torch.bincount(labels.flatten(), minlength=scores.shape[1]).argsort(descending=True)
        is_second_there = labels.dim() > 0 and bool((labels == order[1]).any())
        category = int(order[1] if is_second_there else order[0])
    if not 0 <= category < scores.shape[1]:
        raise UserError(f'the model has {scores.shape[1]} classes, so there is no class {category}')
    if labels.dim() == 0:
        return category, ClassifierOutputTarget(category)
    region = (labels == category).numpy().astype(np.float32)
    if not region.any():
        raise UserError(f'no pixel is predicted as class {category}: choose another class')
    return category, SemanticSegmentationTarget(category, region)
