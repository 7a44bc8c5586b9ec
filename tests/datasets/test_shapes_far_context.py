"""Far-context Shapes: one class per image, nothing near a figure tells it, and 7 x 7 networks do not reach the mark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

import mmhyena  # noqa: F401  (puts the fallback for mmcv's operators in place before mmseg looks for them)
from mmhyena.analysis.comparison import backbone_config, set_backbone
from mmhyena.apis.toolkits import use_toolkit
from mmhyena.datasets.shapes import CLASSES, FAR_GAP, generate_shapes, render_far_context
from mmhyena.datasets.shapes import far_context as module
from mmhyena.datasets.shapes.scene import Canvas

CONFIG = Path(__file__).parents[2] / 'configs/shapes/segformer-s4_hpx-former-tiny_shapes-far-context.py'


@pytest.mark.parametrize('size', [(96, 96), (96, 128)])
def test_all_figures_have_the_class_of_a_mark_that_lies_far_away(size, monkeypatch):
    marks = []
    mark = Canvas.mark

    def record(canvas, figure, color):
        before = canvas.image.copy()
        assert np.ptp(before, axis=-1).max() < 1e-6  # nothing but the mark has a color
        mark(canvas, figure, color)
        marks.append((figure.name, np.argwhere((canvas.image != before).any(-1))))

    monkeypatch.setattr(Canvas, 'mark', record)
    seen = set()
    for index in range(20):
        scene = render_far_context(index, size=size)
        name, pixels = marks[-1]
        assert scene.image.shape == (*size, 3) and 1 <= len(scene.labels) <= 2
        assert {CLASSES[label] for label in scene.labels} == {name} and len(pixels) > 60
        figures = np.argwhere(scene.owner >= 0)
        # Along one axis at least: receptive fields are squares.
        assert np.abs(figures[:, None] - pixels[None]).max(-1).min() >= FAR_GAP
        assert (scene.owner[tuple(pixels.T)] == -1).all()  # the mark is background
        seen.add(name)
    assert seen == set(CLASSES)


def test_figures_are_drawn_alike_whatever_the_class(monkeypatch):
    drawn = []
    monkeypatch.setattr(Canvas, 'paint', lambda canvas, figure: drawn.append(figure))
    for label in range(len(CLASSES)):
        render_far_context(3, label=label)
    assert {figure.name for figure in drawn} == {'circle'}
    assert all(0.5 * 14 <= figure.radius <= 0.5 * 22 for figure in drawn)


def test_small_images_and_mixed_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match='need 96 pixels'):
        render_far_context(0, size=(80, 128))
    for arguments in (dict(variant='near'), dict(variant='far-context', figure_side=160)):
        with pytest.raises(ValueError, match='variant'):
            generate_shapes(tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()


def test_tree_has_all_annotations_and_its_own_manifest(tmp_path):
    arguments = dict(train=2, val=1, cls_train=5, cls_val=0, variant='far-context')
    assert generate_shapes(tmp_path, **arguments) and not generate_shapes(tmp_path, **arguments)
    coco = json.loads((tmp_path / 'annotations/instances_train.json').read_text())
    for index in range(2):
        scene = render_far_context(index)
        labels = np.asarray(Image.open(tmp_path / f'annotations/training/{index:06d}.png'))
        assert np.array_equal(labels, scene.semantic + 1)
        found = [a['category_id'] - 1 for a in coco['annotations'] if a['image_id'] == index + 1]
        assert found == scene.labels.tolist()
    (picture,) = (tmp_path / 'classification/train/star').iterdir()
    assert Image.open(picture).size == (96, 96)
    assert module.FAR_MIN_SIDE == 96


@pytest.mark.parametrize(('mixer', 'reaches'), [('convformer', False), ('convnext', False), ('hpx', True)])
def test_theoretical_receptive_field_ends_before_the_gap_with_short_kernels(mixer, reaches):
    from mmseg.registry import MODELS

    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIG)
    use_toolkit(cfg)
    set_backbone(cfg, backbone_config(mixer), (32, 64, 128, 192))
    model = MODELS.build(cfg.model).eval()
    x = torch.randn(1, 3, 160, 160, requires_grad=True)
    at = 79
    logits = model.encode_decode(x, [dict(ori_shape=(160, 160), img_shape=(160, 160), pad_shape=(160, 160))])
    (gradient,) = torch.autograd.grad(logits[0, :, at, at].abs().sum(), x)
    rows, columns = np.nonzero(gradient[0].abs().sum(0).numpy())
    reach = max(np.abs(rows - at).max(), np.abs(columns - at).max())
    assert (reach >= FAR_GAP) == reaches
