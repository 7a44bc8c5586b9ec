"""Feature maps of the backbone's stages, and pictures of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmhyena.errors import UserError

__all__ = ['principal_components', 'stage_features']


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
