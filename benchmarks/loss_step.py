"""A whole model's losses as a function of images alone, with made-up annotations: for measuring a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmhyena.apis.toolkits import use_toolkit

__all__ = ['LossStep']

OBJECTS = 8


class LossStep(nn.Module):
    """Maps images to the sum of a model's losses.

    Annotations are drawn anew from the same seed in every call, and so are the model's own random choices, so that two
    models of the same weights can be compared.

    Args:
        cfg: Config of a classifier, detector or segmentor.

    Raises:
        UserError: If the config's toolkit is not known or not installed.
    """

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.task = use_toolkit(cfg).task
        self.model = MODELS.build(cfg.model)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the loss ``()`` of images ``(B, 3, H, W)``, which the model's preprocessor does not touch."""
        devices = [x.device] if x.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            make: Callable[[int, int, Any], Any] = dict(
                classification=_classified, detection=_detected, segmentation=_segmented
            )[self.task]
            samples = [make(*x.shape[2:], self.model).to(x.device) for _ in x]
            losses = self.model(x, samples, mode='loss')
        return (self.model.parse_losses(losses)[0],)


def _classified(height: int, width: int, model: nn.Module) -> Any:
    from mmpretrain.structures import DataSample

    return DataSample().set_gt_label(int(torch.randint(2, ())))


def _segmented(height: int, width: int, model: nn.Module) -> Any:
    from mmseg.structures import SegDataSample

    labels = torch.randint(model.decode_head.num_classes, (1, height, width))
    meta = dict(img_shape=(height, width), ori_shape=(height, width), pad_shape=(height, width))
    return SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=meta)


def _detected(height: int, width: int, model: nn.Module) -> Any:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    corners = torch.rand(OBJECTS, 2) * 0.6
    sides = 0.1 + 0.3 * torch.rand(OBJECTS, 2)
    boxes = torch.cat([corners, corners + sides], dim=1) * torch.tensor([width, height] * 2)  # (n, 4)
    masks = BitmapMasks([_box_mask(box, height, width) for box in boxes.long().tolist()], height, width)
    labels = torch.zeros(OBJECTS, dtype=torch.long)
    shape = dict(img_shape=(height, width), ori_shape=(height, width), pad_shape=(height, width))
    sample = DetDataSample(metainfo=dict(shape, batch_input_shape=(height, width), scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=masks)
    sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
    return sample


def _box_mask(box: list[int], height: int, width: int) -> Any:
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask.numpy()
