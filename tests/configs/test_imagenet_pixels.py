"""What a classifier sees of a validation image, against a plain PIL pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

ROOT = Path(__file__).parents[2]
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
# Config, short edge, crop, interpolation.
CONFIGS = [
    ('configs/hyenapixel/classification/hpx-former-s18_8xb512_in1k.py', 224, 224, BICUBIC),
    ('configs/hyenapixel/classification/hpx-former-s18_8xb128_in1k-384px.py', 384, 384, BICUBIC),
    ('configs/ibit/ibit-tiny_8xb128_in1k.py', 256, 224, BILINEAR),
]
ORIENTATION = 0x0112  # EXIF tag
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def plain_pil(path: Path, edge: int, size: int, interpolation: Image.Resampling) -> np.ndarray:
    """Short edge to ``edge``, central crop of ``size``; RGB (size, size, 3), uint8."""
    image = Image.open(path).convert('RGB')
    width, height = image.size
    short = min(width, height)
    # The long edge is cut off to whole pixels, as torchvision and timm do.
    image = image.resize((int(edge * width / short), int(edge * height / short)), interpolation)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> list[Path]:
    """Landscape, portrait, square, smaller than the crop, grey, and turned by its EXIF entry."""
    folder = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    paths = []
    for name, (height, width) in {
        'wide': (375, 500),
        'tall': (501, 333),
        'square': (256, 256),
        'low': (90, 131),
    }.items():
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        image = coarse.resize((width, height), Image.Resampling.BICUBIC)
        paths.append(folder / f'{name}.JPEG')
        image.save(paths[-1], quality=95)
    paths.append(folder / 'grey.JPEG')
    image.convert('L').save(paths[-1])
    paths.append(folder / 'turned.JPEG')
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.save(paths[-1], exif=exif)
    return paths


@pytest.mark.parametrize(('recipe', 'edge', 'size', 'interpolation'), CONFIGS)
def test_validation_pixels_are_those_of_plain_pil(recipe, edge, size, interpolation, images):
    pytest.importorskip('mmpretrain')
    from mmengine.dataset import Compose
    from mmengine.registry import MODELS

    from mmhyena.apis.toolkits import use_toolkit

    cfg = Config.fromfile(ROOT / recipe)
    use_toolkit(cfg)
    pipeline = Compose(cfg.val_dataloader.dataset.pipeline)
    preprocessor = MODELS.build({'type': 'mmpretrain.ClsDataPreprocessor', **cfg.data_preprocessor})
    for path in images:
        expected = plain_pil(path, edge, size, interpolation)
        packed = pipeline({'img_path': str(path), 'gt_label': 0})
        bgr = packed['inputs'].permute(1, 2, 0).numpy()  # (H, W, 3)
        np.testing.assert_array_equal(bgr[..., ::-1], expected, err_msg=path.name)

        seen = preprocessor({'inputs': [packed['inputs']], 'data_samples': [packed['data_samples']]})['inputs'][0]
        normalized = torch.from_numpy((expected / 255 - MEAN) / STD).permute(2, 0, 1).float()
        torch.testing.assert_close(seen, normalized, rtol=0, atol=2e-6)
