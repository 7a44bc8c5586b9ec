"""One class per task: predictions on top of the toolkit's own inferencer, and pictures of them.

The toolkits' inferencers prepare the images. Their checkpoint loaders are not used, since these unpickle any object and
skip weights that do not fit; neither are their visualizers, since their labels depend on the toolkit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch import Tensor, nn

from mmhyena.apis.inference.results import Classification, Detection, Result, Segmentation
from mmhyena.errors import UserError
from mmhyena.visualization import draw_classes, draw_objects, draw_regions, full_palette

__all__ = ['TASK_INFERENCERS', 'ModelInput', 'TaskInferencer', 'find_dataset_meta']

_LONGEST_ASPECT = 16


@dataclass(frozen=True)
class ModelInput:
    """What a model gets for one image.

    Attributes:
        tensor: ``(1, C, H, W)``, resized, normalized and padded, on the model's device.
        picture: RGB ``(H, W, 3)``, uint8: the same without the normalization; padding is black.
    """

    tensor: Tensor
    picture: np.ndarray


class TaskInferencer(ABC):
    """Predictions and pictures of one task.

    Args:
        cfg: A config with a test pipeline.
        model: The model of that config with its weights, on its device, in evaluation mode.
        meta: ``classes`` and ``palette``, where they are known.
    """

    result_type: type[Any]
    _fed_rgb = False

    def __init__(self, cfg: Config, model: nn.Module, meta: Mapping[str, Any]) -> None:
        self.model: Any = model  # of a toolkit
        names = meta.get('classes') or ()
        self.classes: tuple[str, ...] = (names,) if isinstance(names, str) else tuple(names)
        self.palette = full_palette(meta.get('palette'), len(self.classes))
        pipeline = _dataset(cfg).pipeline
        loading: Mapping[str, Any] = next((step for step in pipeline if 'LoadImage' in str(step['type'])), {})
        self._gray = loading.get('color_type', 'color').startswith('grayscale')
        self._resizes = [
            step
            for step in pipeline
            if str(step['type']).endswith('Resize')
            and step.get('keep_ratio')
            and isinstance(step.get('scale'), (list, tuple))
        ]
        self.inner = self._build_inner(cfg)

    @abstractmethod
    def _build_inner(self, cfg: Config) -> Any:
        """Return the toolkit's inferencer around the model."""

    def check_size(self, image: object, array: np.ndarray) -> None:
        """Check that an image still has pixels after the test pipeline's resize, which a very thin one has not.

        Args:
            image: The image as the user passed it, for the message.
            array: Its pixels (H, W, 3).

        Raises:
            UserError: If one side would be 0 pixels long after a resize that keeps the aspect ratio.
        """
        size = array.shape[1::-1]
        for step in self._resizes:
            width, height = mmcv.rescale_size(size, tuple(step['scale']))
            if min(width, height) < 1:
                name = image if isinstance(image, (str, Path)) else 'an image'
                raise UserError(
                    f'{name}: the test pipeline resizes {size[0]} x {size[1]} to {width} x {height} pixels: cut it '
                    'into parts that are less thin'
                )

    def predict(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Return the toolkit's data samples for BGR images (H, W, 3) of any size, from one forward pass.

        Smaller images are padded at the right and at the bottom, as in the toolkits' batches. A pipeline that loads
        grayscale images gets them as (H, W).
        """
        return self._forward([self._loaded(image) for image in images])

    def prepare(self, image: np.ndarray) -> ModelInput:
        """Return what the test pipeline and the preprocessor make of a BGR image (H, W, 3)."""
        batch = self._collate([self._loaded(image)])
        (pixels,) = batch['inputs']  # (C, h, w), before normalization and padding
        tensor = self.model.data_preprocessor(batch, False)['inputs']
        picture = np.zeros((*tensor.shape[-2:], 3), np.uint8)
        height, width = pixels.shape[-2:]
        rgb = pixels if self._fed_rgb else pixels.flip(0)
        picture[:height, :width] = rgb.clamp(0, 255).to(torch.uint8).cpu().numpy().transpose(1, 2, 0)
        return ModelInput(tensor, picture)

    def _loaded(self, image: np.ndarray) -> np.ndarray:
        """Return a BGR image as the pipeline would have loaded it from a file."""
        return mmcv.bgr2gray(image) if self._gray else image

    def _collate(self, images: Sequence[np.ndarray]) -> dict[str, Any]:
        """Return the batch that the pipeline makes of images in the form that it takes."""
        return pseudo_collate([self.inner.pipeline(image) for image in images])

    @torch.no_grad()
    def _forward(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Return the data samples of images in the form that the pipeline takes."""
        return self.model.test_step(self._collate(images))

    def result(self, sample: Any, **common: Any) -> Result:
        """Return a data sample as a typed result; ``common`` are ``image`` and ``source``."""
        return self.result_type.from_sample(sample, classes=self.classes, **common)

    @abstractmethod
    def draw(self, result: Any, *, score_thr: float, opacity: float, top_k: int) -> np.ndarray:
        """Return a picture, RGB (H, W, 3), uint8; see :meth:`~.inferencer.Inferencer.draw`."""


class DetectionInferencer(TaskInferencer):
    """Boxes, and masks if the model predicts any, on mmdet's ``DetInferencer``."""

    result_type = Detection

    def _build_inner(self, cfg: Config) -> Any:
        from mmdet.apis import DetInferencer

        self.model.dataset_meta = dict(classes=self.classes, palette=list(self.palette) or 'random')
        return _around(DetInferencer, self.model)(cfg, device=_device_of(self.model))

    def draw(self, result: Detection, *, score_thr: float, opacity: float, top_k: int) -> np.ndarray:
        """Draw boxes and masks."""
        kept = result.scores >= score_thr
        return draw_objects(
            result.image[..., ::-1],
            result.boxes[kept],
            result.labels[kept].tolist(),
            result.classes,
            self.palette,
            result.scores[kept],
            None if result.masks is None else result.masks[kept],
            opacity,
        )


class SegmentationInferencer(TaskInferencer):
    """Label maps, on mmseg's ``MMSegInferencer``."""

    result_type = Segmentation

    def _build_inner(self, cfg: Config) -> Any:
        from mmseg.apis import MMSegInferencer
        from mmseg.visualization import SegLocalVisualizer

        if not self.classes:  # mmseg's default is Cityscapes' classes
            self.classes = tuple(str(i) for i in range(self.model.decode_head.num_classes))
            self.palette = full_palette(None, len(self.classes))
        names = dict(classes=list(self.classes), palette=[list(color) for color in self.palette])
        around = _around(MMSegInferencer, self.model, SegLocalVisualizer())  # which mmseg insists on
        return around(cfg, device=_device_of(self.model), **names)

    @torch.no_grad()
    def _forward(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Return mmseg's data samples; pads here, since mmseg's preprocessor refuses images of unequal sizes."""
        preprocessor = self.model.data_preprocessor
        fed = [preprocessor(self._collate([image]), False) for image in images]
        height = max(one['inputs'].shape[-2] for one in fed)
        width = max(one['inputs'].shape[-1] for one in fed)
        inputs, samples = [], []
        for one in fed:
            (sample,) = one['data_samples']
            right, bottom = width - one['inputs'].shape[-1], height - one['inputs'].shape[-2]
            padded = sample.metainfo.get('img_padding_size', (0, 0, 0, 0))  # left, right, top, bottom
            whole = (padded[0], padded[1] + right, padded[2], padded[3] + bottom)
            sample.set_metainfo(dict(img_padding_size=whole, pad_shape=(height, width)))
            inputs.append(F.pad(one['inputs'], (0, right, 0, bottom), value=preprocessor.pad_val))
            samples.append(sample)
        return self.model(torch.cat(inputs), samples, mode='predict')

    def result(self, sample: Any, **common: Any) -> Result:
        """Return a data sample as a typed result."""
        return super().result(sample, palette=self.palette, **common)

    def draw(self, result: Segmentation, *, score_thr: float, opacity: float, top_k: int) -> np.ndarray:
        """Draw the classes in their colors, with their names."""
        names = [result.name(label) for label in range(len(result.palette))]
        return draw_regions(result.image[..., ::-1], result.class_map, names, result.palette, opacity)


class ClassificationInferencer(TaskInferencer):
    """Class scores, on mmpretrain's ``ImageClassificationInferencer``."""

    result_type = Classification

    def _build_inner(self, cfg: Config) -> Any:
        from mmpretrain import ImageClassificationInferencer

        # Data sets that hold their images in memory, such as CIFAR, yield RGB, while image files are read as BGR.
        types = [str(transform['type']) for transform in _dataset(cfg).pipeline]
        self._fed_rgb = not any('LoadImage' in name for name in types)
        self._crops = 'ResizeEdge' in types and 'CenterCrop' in types
        self.model._config = cfg
        return ImageClassificationInferencer(self.model, classes=self.classes or None)

    def _collate(self, images: Sequence[np.ndarray]) -> dict[str, Any]:
        """Return mmpretrain's batch; unlike its own collation, it takes images of unequal sizes."""
        if self._crops:
            images = [_cut_strip(image) for image in images]
        if self._fed_rgb:
            images = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        shapes = [image.shape[:2] for image in images]
        dicts = [dict(img=image, img_shape=shape, ori_shape=shape) for image, shape in zip(images, shapes)]
        return pseudo_collate([self.inner.pipeline(one) for one in dicts])

    def draw(self, result: Classification, *, score_thr: float, opacity: float, top_k: int) -> np.ndarray:
        """Write the most likely classes on the image."""
        return draw_classes(result.image[..., ::-1], [(name, score) for _, name, score in result.top(top_k)])


TASK_INFERENCERS: dict[str, type[TaskInferencer]] = {
    'classification': ClassificationInferencer,
    'detection': DetectionInferencer,
    'segmentation': SegmentationInferencer,
}


def _cut_strip(image: np.ndarray) -> np.ndarray:
    """Return the middle of a very long image; the center crop that follows keeps even less of it.

    Resizing the short edge of a strip of 8000 x 8 pixels to 256 would give 256000 x 256.
    """
    height, width = image.shape[:2]
    limit = _LONGEST_ASPECT * min(height, width)
    top, left = max(0, (height - limit) // 2), max(0, (width - limit) // 2)
    return image[top : top + min(height, limit), left : left + min(width, limit)]


def _around(inferencer: type, model: nn.Module, visualizer: Any = None) -> type:
    """Return a subclass of a toolkit's inferencer that uses ``model`` instead of building one and loading weights."""

    class PrebuiltInferencer(inferencer):
        def _init_model(self, cfg: Any, weights: None, device: str = 'cpu') -> nn.Module:
            return model

        def _init_visualizer(self, cfg: Any) -> Any:
            return visualizer

        def _init_collate(self, cfg: Any) -> Callable:
            return pseudo_collate

    return PrebuiltInferencer


def _device_of(model: nn.Module) -> str:
    return str(next(model.parameters()).device)


def find_dataset_meta(cfg: Config, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``classes`` and ``palette`` from the checkpoint, else the config, else the class of the data set.

    Raises:
        UserError: If the config has no test pipeline.
    """
    dataset = _dataset(cfg)
    if 'pipeline' not in dataset:
        raise UserError(f'config {cfg.filename} has no test pipeline for images')
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        known = dict(getattr(registry.get(dataset.type), 'METAINFO', {}))
    saved = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
    for source in (dataset.get('metainfo') or {}, saved):
        known.update({key.lower(): value for key, value in source.items() if value is not None})
    return known


def _dataset(cfg: Config) -> Any:
    dataset = (cfg.get('test_dataloader') or {}).get('dataset', {})
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset
