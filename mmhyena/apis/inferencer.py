"""Inference on images: files, arrays, PIL images or tensors in, typed results out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.device import get_device
from PIL import Image
from torch import Tensor

from .config import load_config
from .errors import UserError
from .results import Detection
from .toolkits import use_toolkit
from .weights import check_weights, read_checkpoint

__all__ = ['Inferencer', 'ImageLike', 'find_images']

ImageLike = str | Path | np.ndarray | Tensor | Image.Image

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


class Inferencer:
    """Run a trained model on images, on top of the toolkit's own inferencer.

    Args:
        config: Config file the model was trained with.
        checkpoint: Weights; every tensor has to fit.
        device: 'cpu', 'cuda', 'cuda:1', ...; None takes an accelerator if there is one.

    Raises:
        UserError: If the config, the checkpoint or the device is not usable.
    """

    def __init__(self, config: str | Path, checkpoint: str | Path, device: str | None = None) -> None:
        device = _check_device(device)
        weights = read_checkpoint(checkpoint)
        cfg = load_config(config)
        self.toolkit = use_toolkit(cfg)
        if self.toolkit.task != 'detection':
            raise UserError(f'config {config} is for {self.toolkit.task}: inference is for detectors so far')
        from mmdet.apis import DetInferencer

        self._inner = DetInferencer(cfg, str(checkpoint), device=device, show_progress=False)
        check_weights(self._inner.model, weights, checkpoint)
        self.classes = tuple(self._inner.model.dataset_meta['classes'])

    def __call__(self, images: ImageLike | Sequence[ImageLike], batch_size: int = 1) -> list[Detection]:
        """Return one result per image, in order.

        Args:
            images: One image or several: a file name, an array (H, W, 3) in uint8 BGR as OpenCV and OpenMMLab have
                it, a tensor (3, H, W) in RGB, uint8 or in [0, 1], or a PIL image.
            batch_size: Images per forward pass.
        """
        single = isinstance(images, (str, Path, np.ndarray, Tensor, Image.Image))
        return list(self.stream([images] if single else images, batch_size))

    def stream(self, images: Sequence[ImageLike], batch_size: int = 1) -> Iterator[Detection]:
        """Yield the results of ``images`` as they are ready; see :meth:`__call__`."""
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            arrays = [_to_bgr(image) for image in chunk]
            samples = self._inner(arrays, batch_size=batch_size, return_datasamples=True)['predictions']
            for image, array, sample in zip(chunk, arrays, samples):
                source = str(image) if isinstance(image, (str, Path)) else None
                yield Detection.from_sample(sample, array, self.classes, source)

    def draw(self, result: Detection, score_thr: float = 0.3, min_side: int = 480) -> np.ndarray:
        """Draw a result on its image.

        Args:
            result: What this object returned.
            score_thr: Objects with a lower score are left out.
            min_side: Smaller images are enlarged by a whole factor to at least this many pixels a side, so that
                lines and letters stay legible.

        Returns:
            RGB (H, W, 3), uint8.
        """
        factor = max(1, -(-min_side // min(result.image.shape[:2])))
        enlarged = result.enlarged(factor)
        visualizer = self._inner.visualizer
        visualizer.add_datasample(
            'image', enlarged.image[..., ::-1], enlarged.to_sample(), draw_gt=False, pred_score_thr=score_thr
        )
        return visualizer.get_image()


def find_images(source: str | Path) -> list[Path]:
    """Return the images that a file name, a folder or a glob pattern stands for, sorted.

    Raises:
        UserError: If there are none.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = path.iterdir()
    else:
        anchor = Path(path.anchor)
        pattern = str(path.relative_to(anchor)) if path.anchor else str(path)
        found = anchor.glob(pattern) if any(c in pattern for c in '*?[') else ()
    images = sorted(file for file in found if file.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise UserError(f'no image at {source}: give a file, a folder or a glob of {", ".join(IMAGE_SUFFIXES)}')
    return images


def _check_device(device: str | None) -> str:
    if device is None:
        return get_device()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"device '{device}' is not usable: {reason}") from error
    return device


def _to_bgr(image: ImageLike) -> np.ndarray:
    """Return an image as BGR (H, W, 3), uint8.

    Raises:
        UserError: If it cannot be read, or has another shape or type.
    """
    if isinstance(image, (str, Path)):
        array = mmcv.imread(str(image)) if Path(image).is_file() else None
        if array is None:
            raise UserError(f'{image} cannot be read as an image')
        return array
    if isinstance(image, Image.Image):
        return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])
    if isinstance(image, Tensor):
        if image.is_floating_point():
            image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
        return _check_array(image.detach().cpu().permute(1, 2, 0).numpy()[..., ::-1])
    return _check_array(image)


def _check_array(array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        shape = getattr(array, 'shape', type(array).__name__)
        raise UserError(f'an image must have shape (H, W, 3) and uint8 values, got {shape}')
    return np.ascontiguousarray(array)
