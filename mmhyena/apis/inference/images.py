"""Conversion of every kind of image that inference takes to OpenMMLab's form."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mmhyena.errors import UserError, one_line

__all__ = ['IMAGE_SUFFIXES', 'MAX_PIXELS', 'ImageLike', 'find_images', 'list_images', 'to_bgr']

ImageLike = str | Path | np.ndarray | Tensor | Image.Image

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')

MAX_PIXELS = 50_000_000
"""Default limit of the size of an image: 100 masks of that size take 5 GB."""

# PIL's modes of more than 8 bits per channel, which its convert('RGB') clips to white.
_DEEP_MODES = ('I', 'F', 'I;16', 'I;16L', 'I;16B', 'I;16N')


def find_images(source: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, recursive: bool = False) -> list[Path]:
    """Return the files that a file name, a folder or a glob pattern stands for, sorted.

    Args:
        source: File name, folder or pattern.
        suffixes: Files with other suffixes are ignored, unless ``source`` is the file itself.
        recursive: Whether to look into the subfolders of a folder.

    Raises:
        UserError: If there are none.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found: Iterable[Path] = path.rglob('*') if recursive else path.iterdir()
    else:
        anchor = Path(path.anchor)
        pattern = str(path.relative_to(anchor)) if path.anchor else str(path)
        found = anchor.glob(pattern) if any(c in pattern for c in '*?[') else ()
    images = sorted(file for file in found if file.suffix.lower() in suffixes and file.is_file())
    if not images:
        raise UserError(f'no image at {source}: give a file, a folder or a glob of {", ".join(suffixes)}')
    return images


def list_images(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return one image, several images, or an array or tensor with a batch axis as an iterable of images.

    Raises:
        UserError: If it is none of these.
    """
    if isinstance(images, (np.ndarray, Tensor)):
        return images if images.ndim == 4 else [images]
    if isinstance(images, (str, Path, Image.Image)):
        return [images]
    if not isinstance(images, Iterable):
        raise UserError(f'an image must be a file name, an array, a tensor or a PIL image, got {images!r}')
    return images


def to_bgr(image: ImageLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return an image of any form as BGR (H, W, 3), uint8, with the values that mmcv reads from its file.

    Transparency is dropped, gray becomes three equal channels, 16 bits are cut to the upper 8.

    Args:
        image: A file name, a PIL image, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in BGR order, of uint8 or
            uint16, or a tensor (1, H, W) or (3, H, W) in RGB order, uint8 or float in [0, 1].
        max_pixels: Larger images are refused.

    Raises:
        UserError: If it cannot be read, is too large, or has another shape, type or range.
    """
    if isinstance(image, (str, Path)):
        return _read(image, max_pixels)
    if isinstance(image, Image.Image):
        return _pil_to_bgr(image, max_pixels)
    if isinstance(image, Tensor):
        return _array_to_bgr(_tensor_to_array(image), max_pixels)
    return _array_to_bgr(image, max_pixels)


def _read(file: str | Path, max_pixels: int) -> np.ndarray:
    if not Path(file).is_file():
        raise UserError(f'{file} cannot be read as an image: there is no such file')
    if Path(file).stat().st_size == 0:
        raise UserError(f'{file} cannot be read as an image: it is empty')
    try:
        with Image.open(file) as header:
            _check_pixels(header.width, header.height, max_pixels, file)
            if header.mode == 'F':  # OpenCV clips floats
                return _pil_to_bgr(header, max_pixels)
    except Image.DecompressionBombError as error:
        raise UserError(f'{file} is too large: {error}') from error
    except UnidentifiedImageError:
        pass  # OpenCV knows some formats that PIL does not
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f'{file} cannot be read as an image: {one_line(error)}') from error
    try:
        array = mmcv.imread(str(file))
    except Exception as error:  # OpenCV raises its own class for a broken file
        raise UserError(f'{file} cannot be read as an image: {one_line(error)}') from error
    if array is None:
        raise UserError(f'{file} cannot be read as an image')
    return array


def _check_pixels(width: int, height: int, max_pixels: int, name: object) -> None:
    if width * height > max_pixels:
        raise UserError(
            f'{name} has {width} x {height} pixels, more than the limit of {max_pixels}: make it smaller, cut it into '
            'parts, or raise the limit (max_pixels, --max-pixels)'
        )


def _pil_to_bgr(image: Image.Image, max_pixels: int) -> np.ndarray:
    try:
        _check_pixels(image.width, image.height, max_pixels, 'a PIL image')
        upright = ImageOps.exif_transpose(image)  # as OpenCV does with files
        if upright.mode in _DEEP_MODES:
            gray = _deep_to_uint8(np.asarray(upright), is_16_bit=upright.mode.startswith('I;16'))
            return _array_to_bgr(gray, max_pixels)
        return np.ascontiguousarray(np.asarray(upright.convert('RGB'))[..., ::-1])
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f'a PIL image cannot be used: {one_line(error)}') from error


def _deep_to_uint8(array: np.ndarray, is_16_bit: bool) -> np.ndarray:
    """Return gray values of more than 8 bits as 8 bits: floats in [0, 1] or [0, 255], integers of 8 or of 16 bits."""
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if np.issubdtype(array.dtype, np.floating):
        if not (low >= 0 and high <= 255):
            raise UserError(f'an image of floats must lie within [0, 1] or [0, 255], got {low:.3g} to {high:.3g}')
        return np.round(array * (255 if high <= 1 else 1)).astype(np.uint8)
    if low < 0 or high > 65535:
        raise UserError(f'an image of integers must lie within [0, 65535], got {low:.0f} to {high:.0f}')
    return (array >> 8 if is_16_bit or high > 255 else array).astype(np.uint8)


def _tensor_to_array(image: Tensor) -> np.ndarray:
    """Return a tensor (C, H, W) in RGB order as an array (H, W, C) in BGR order, uint8."""
    usable = image.ndim == 3 and len(image) in (1, 3) and image.numel()
    if not usable or not (image.is_floating_point() or image.dtype == torch.uint8):
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
                'normalizes images itself'
            )
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return image.permute(1, 2, 0).numpy()[..., ::-1]


def _array_to_bgr(array: Any, max_pixels: int) -> np.ndarray:
    usable = isinstance(array, np.ndarray) and array.dtype in (np.uint8, np.uint16) and array.size
    if not usable or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        got = f'{array.shape} {array.dtype}' if isinstance(array, np.ndarray) else type(array).__name__
        raise UserError(f'an image must have shape (H, W, 3) and uint8 values, got {got}')
    _check_pixels(array.shape[1], array.shape[0], max_pixels, 'an array')
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.ndim == 2:
        array = array[..., None]
    return np.ascontiguousarray(array.repeat(3, axis=2) if array.shape[2] == 1 else array[..., :3])
