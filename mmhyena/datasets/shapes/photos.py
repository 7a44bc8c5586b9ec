"""The photographs behind and on the figures: those that scikit-image carries inside its wheel, never a download."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

BACKGROUNDS = (
    'astronaut.png',
    'chelsea.png',
    'coffee.png',
    'hubble_deep_field.jpg',
    'ihc.png',
    'motorcycle_left.png',
    'rocket.jpg',
)
"""Color photographs. All are in the wheel of every scikit-image from 0.20 on."""

MATERIALS = ('brick.png', 'grass.png', 'gravel.png')
"""Grey photographs of surfaces, tinted and used on figures only."""

TRAIN_SHARE = 0.65
"""Part of a photograph's longer side that training crops come from; validation crops come from the rest."""


@cache
def load_photo(name: str) -> Image.Image:
    """Return one of scikit-image's photographs as RGB.

    Args:
        name: File name in scikit-image's data folder.

    Raises:
        FileNotFoundError: scikit-image is installed without that file.
    """
    import skimage

    path = Path(skimage.__file__).parent / 'data' / name
    if not path.is_file():
        raise FileNotFoundError(
            f'scikit-image {version("scikit-image")} has no {path}; '
            'reinstall it from its wheel: pip install scikit-image'
        )
    with Image.open(path) as image:
        return image.convert('RGB')


def split_region(width: int, height: int, split: str) -> tuple[int, int, int, int]:
    """Return the part ``(left, top, right, bottom)`` of a photograph that belongs to ``split``."""
    cut = int(max(width, height) * TRAIN_SHARE)
    if split == 'train':
        return (0, 0, cut, height) if width >= height else (0, 0, width, cut)
    return (cut, 0, width, height) if width >= height else (0, cut, width, height)


def random_crop(
    rng: np.random.Generator, names: tuple[str, ...], split: str, size: tuple[int, int], scale: tuple[float, float]
) -> np.ndarray:
    """Cut a random window out of a random photograph.

    Args:
        rng: Source of randomness.
        names: Photographs to choose from.
        split: ``'train'`` or ``'val'``, see :func:`split_region`.
        size: Height and width of the result, pixels.
        scale: Range of photograph pixels per result pixel; less where the photograph is too small.

    Returns:
        Array (height, width, 3), float32 in [0, 1], mirrored half of the time.
    """
    photo = load_photo(names[rng.integers(len(names))])
    left, top, right, bottom = split_region(*photo.size, split)
    height, width = size
    factor = min(rng.uniform(*scale), (right - left) / width, (bottom - top) / height)
    box_w, box_h = width * factor, height * factor
    # Where the window takes all of the photograph, rounding must not carry it outside.
    x = rng.uniform(left, max(left, right - box_w))
    y = rng.uniform(top, max(top, bottom - box_h))
    box = (x, y, min(x + box_w, right), min(y + box_h, bottom))
    crop = photo.resize((width, height), Image.Resampling.BILINEAR, box=box)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(crop, dtype=np.float32) / 255.0


def jitter_color(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Change gain per channel, contrast and brightness of an image (H, W, 3) in [0, 1]."""
    gain = rng.uniform(0.8, 1.2, 3).astype(np.float32)
    contrast, brightness = rng.uniform(0.75, 1.15), rng.uniform(-0.08, 0.12)
    mean = image.mean(axis=(0, 1))
    return np.clip(((image - mean) * contrast + mean) * gain + brightness, 0.0, 1.0).astype(np.float32)
