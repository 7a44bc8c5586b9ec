"""Images of every kind that inference takes, as OpenMMLab has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mmhyena.errors import UserError

__all__ = ['IMAGE_SUFFIXES', 'ImageLike', 'find_images', 'list_images', 'to_bgr']

ImageLike = str | Path | np.ndarray | Tensor | Image.Image

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


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


def list_images(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return one image, several, or an array or tensor with a batch axis as something that gives images."""
    if isinstance(images, (np.ndarray, Tensor)):
        return images if images.ndim == 4 else [images]
    return [images] if isinstance(images, (str, Path, Image.Image)) else images


def to_bgr(image: ImageLike) -> np.ndarray:
    """Return an image as BGR (H, W, 3), uint8.

    Args:
        image: A file name, a PIL image, an array (H, W, 3) in uint8 BGR, or a tensor (3, H, W) in RGB, uint8 or float
            in [0, 1].

    Raises:
        UserError: If it cannot be read, or has another shape, type or range.
    """
    if isinstance(image, (str, Path)):
        array = mmcv.imread(str(image)) if Path(image).is_file() else None
        if array is None:
            raise UserError(f'{image} cannot be read as an image')
        return array
    if isinstance(image, Image.Image):
        upright = ImageOps.exif_transpose(image)  # as OpenCV does with files
        return np.ascontiguousarray(np.asarray(upright.convert('RGB'))[..., ::-1])
    if isinstance(image, Tensor):
        return _tensor_to_bgr(image)
    return _check_array(image)


def _tensor_to_bgr(image: Tensor) -> np.ndarray:
    if image.ndim != 3 or len(image) != 3 or not (image.is_floating_point() or image.dtype == torch.uint8):
        raise UserError(
            f'a tensor must have shape (3, H, W) in RGB, in uint8 or in floats within [0, 1], got {tuple(image.shape)} '
            f'{image.dtype}'
        )
    image = image.detach().cpu()
    if image.is_floating_point():
        image = image.float()
        if not (image.min() >= -1e-3 and image.max() <= 1 + 1e-3):
            raise UserError(
                f'a tensor of floats must lie within [0, 1], got {image.min():.3g} to {image.max():.3g}: the model '
                'normalises images itself'
            )
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return _check_array(image.permute(1, 2, 0).numpy()[..., ::-1])


def _check_array(array: Any) -> np.ndarray:
    usable = isinstance(array, np.ndarray) and array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if not usable or not array.size:
        got = f'{array.shape} {array.dtype}' if isinstance(array, np.ndarray) else type(array).__name__
        raise UserError(f'an image must have shape (H, W, 3) and uint8 values, got {got}')
    return np.ascontiguousarray(array)
