"""Feature maps of the backbone's stages and class activation maps, the latter by the package grad-cam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmhyena.errors import UserError

__all__ = ['activation_map', 'principal_components', 'stage_features', 'task_of']


def task_of(model: nn.Module) -> str:
    """Return ``'segmentation'``, ``'detection'`` or ``'classification'``."""
    if hasattr(model, 'encode_decode'):
        return 'segmentation'
    return 'detection' if hasattr(model, 'with_bbox') else 'classification'


@torch.no_grad()
def stage_features(model: Any, x: Tensor) -> list[Tensor]:
    """Return the feature maps ``(C, H, W)`` of the backbone for a normalized image ``(1, 3, H, W)``, in its order."""
    maps = [feature[0] for feature in model.backbone(x) if feature.dim() == 4]
    if not maps:
        raise UserError('the backbone gives vectors, not maps: set its out_type to featmap')
    return maps


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
        hook = self.model.backbone.register_forward_hook(self._replace)
        try:
            return self.scores(x)
        finally:
            hook.remove()

    def _replace(self, _module: nn.Module, _inputs: Any, outputs: Any) -> tuple[Tensor, ...]:
        features = list(outputs)
        if not -len(features) <= self.level < len(features):
            raise UserError(f'the backbone has {len(features)} feature maps, so there is no level {self.level}')
        features[self.level] = self.tap(features[self.level])
        return tuple(features)


def activation_map(model: Any, x: Tensor, level: int = -1, category: int | None = None) -> tuple[np.ndarray, dict]:
    """Return the class activation map of a feature map.

    Classification takes Grad-CAM of the class's score; segmentation Grad-CAM of the class's score summed over the
    region predicted as that class; detection EigenCAM, which needs no target (arXiv 1610.02391, 2008.00299).

    Args:
        model: A classifier, detector or segmentor in evaluation mode.
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
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget, SemanticSegmentationTarget
    except ImportError as error:
        raise UserError(f"class activation maps need grad-cam: pip install 'mmhyena[cam]' ({error})") from None
    task = task_of(model)
    method, target = GradCAM, None
    if task == 'detection':
        if category is not None:
            raise UserError('EigenCAM of a detector has no target class: leave the class out')
        method, target = EigenCAM, torch.sum
        scores = lambda images: model.backbone(images)[level]  # noqa: E731
    elif task == 'segmentation':
        shape = tuple(x.shape[-2:])
        metas = [dict(ori_shape=shape, img_shape=shape, pad_shape=shape, batch_input_shape=shape)]
        scores = lambda images: model.encode_decode(images, metas)  # noqa: E731
        category, region = _region(scores, x, category)
        target = SemanticSegmentationTarget(category, region)
    else:
        scores = lambda images: model(images, mode='tensor')  # noqa: E731
        with torch.no_grad():
            logits = scores(x)[0]
        category = int(logits.argmax()) if category is None else category
        _check(category, len(logits))
        target = ClassifierOutputTarget(category)
    tapped = _Tapped(model, level, scores)
    with torch.enable_grad(), method(model=tapped, target_layers=[tapped.tap]) as cam:
        heat = cam(input_tensor=x.detach().clone().requires_grad_(), targets=[target])[0]
    model.zero_grad(set_to_none=True)
    return heat, dict(task=task, method=method.__name__, category=category, level=level)


def _check(category: int, count: int) -> None:
    if not 0 <= category < count:
        raise UserError(f'the model has {count} classes, so there is no class {category}')


@torch.no_grad()
def _region(scores: Callable[[Tensor], Tensor], x: Tensor, category: int | None) -> tuple[int, np.ndarray]:
    """Return the class and the mask ``(H, W)`` of the pixels predicted as it."""
    logits = scores(x)[0]  # (K, H, W)
    labels = logits.argmax(0).cpu()
    if category is None:
        order = torch.bincount(labels.flatten(), minlength=len(logits)).argsort(descending=True)
        category = int(order[1]) if (labels == order[1]).any() else int(order[0])
    _check(category, len(logits))
    region = (labels == category).numpy().astype(np.float32)
    if not region.any():
        raise UserError(f'no pixel is predicted as class {category}: choose another class')
    return category, region
