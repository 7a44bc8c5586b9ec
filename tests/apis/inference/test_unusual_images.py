"""Strips, images of very many pixels, and models of gray images."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from PIL import Image

from mmhyena.apis import Inferencer, load_config, use_toolkit
from mmhyena.apis.inference.images import to_bgr
from mmhyena.errors import UserError


def write_black_png(path: Path, width: int, height: int) -> None:
    """Write a PNG of one bit per pixel, row by row."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    packer = zlib.compressobj(1)
    rows = [packer.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)]
    data = b''.join([*rows, packer.flush()])
    header = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b''))


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    small, large = tmp_path / 'small.png', tmp_path / 'large.png'
    write_black_png(small, 20, 10)
    assert to_bgr(small).shape == (10, 20, 3)
    write_black_png(large, 20_000, 20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r'large\.png is too large: .*400000000 pixels'):
        to_bgr(large)
    write_black_png(large, 12_000, 12_000)
    with pytest.raises(UserError, match=r'large\.png has 12000 x 12000 pixels, more than the limit of 50000000'):
        to_bgr(large)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB; decoded it is 400 MB and more


@pytest.mark.parametrize('size', [(8000, 8), (8, 8000)])
def test_strips_are_answered_and_drawn_in_bounds(size, inferencer, task, tmp_path):
    file = tmp_path / 'strip.png'
    Image.new('RGB', size, (90, 120, 200)).save(file)
    if task == 'segmentation':  # whose pipeline would leave no row of it
        with pytest.raises(UserError, match=r'strip\.png: the test pipeline resizes .* to (160 x 0|0 x 160) pixels'):
            inferencer(file)
        skipped = []
        assert not list(inferencer.stream([file], skipped=lambda *found: skipped.append(found)))
        assert [image for image, _ in skipped] == [file]
        return
    shapes = []
    handle = inferencer.model.backbone.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    try:
        (result,) = inferencer(file)
    finally:
        handle.remove()
    assert result.image.shape[:2] == size[::-1]
    assert all(shape[-1] * shape[-2] < 2**18 for shape in shapes)
    assert inferencer.draw(result).shape == result.image.shape


@pytest.mark.parametrize('name', ['hpx-former-tiny_shapes', 'upernet_hpx-former-tiny_shapes'])
def test_models_of_gray_images(name, config, tmp_path):
    task = 'classification' if name.startswith('hpx') else 'segmentation'
    pytest.importorskip(dict(classification='mmpretrain', segmentation='mmseg')[task])
    file = tmp_path / 'gray.py'
    normal = 'mean=[120.0], std=[60.0]' + (', to_rgb=False' if task == 'classification' else ', bgr_to_rgb=False')
    part = 'data_preprocessor = dict({})\n' if task == 'classification' else ''
    own = f'data_preprocessor=dict({normal})'
    text = f'_base_ = {str(config(task))!r}\n' + part.format(normal)
    text += f'model = dict(backbone=dict(in_channels=1){"" if part else ", " + own})\n'
    text += "test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile', color_type='grayscale'),\n"
    last = {'classification': "dict(type='PackInputs')", 'segmentation': "dict(type='PackSegInputs')"}[task]
    text += f"    dict(type='Resize', scale=(64, 64)), {last}]))\n"
    file.write_text(text)
    cfg = load_config(file)
    use_toolkit(cfg)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), tmp_path / 'gray.pth')
    inferencer = Inferencer(file, tmp_path / 'gray.pth', device='cpu')
    gray = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(gray).save(tmp_path / 'gray.png')
    shapes = []
    inferencer.model.backbone.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape[1]))
    results = inferencer([tmp_path / 'gray.png', gray, Image.fromarray(gray), np.repeat(gray[..., None], 3, 2)])
    assert shapes == [1] * 4
    answers = [result.scores if task == 'classification' else result.class_map for result in results]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-5)
