"""Inference from files, arrays, PIL images and tensors, and the demo on top of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmhyena.apis import UserError
from mmhyena.apis.results import Detection
from mmhyena.datasets.shapes import CLASSES, generate_shapes

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py'


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('shapes')
    generate_shapes(root / 'data', train=1, val=3, size=64, cls_train=1, cls_val=1, seed=0)
    return root / 'data' / 'val'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """Weights as MMEngine saves them; an untrained model that finds something everywhere."""
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS

    from mmhyena.apis import load_config, use_toolkit

    cfg = load_config(CONFIG)
    use_toolkit(cfg)
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    # Object classes above the background, so that scores pass the threshold and nothing passes by being empty.
    state['roi_head.bbox_head.fc_cls.bias'][-1] = -3
    file = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=CLASSES))), file)
    return file


@pytest.fixture(scope='module')
def inferencer(checkpoint):
    from mmhyena.apis import Inferencer

    return Inferencer(CONFIG, checkpoint, device='cpu')


@pytest.fixture
def demo():
    spec = importlib.util.spec_from_file_location('image_demo', ROOT / 'demo' / 'image_demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_every_kind_of_input_gives_the_same(inferencer, images, tmp_path):
    file = tmp_path / 'image.png'
    with Image.open(sorted(images.iterdir())[0]) as opened:
        image = opened.convert('RGB')
    image.save(file)
    rgb = np.array(image)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    inputs = [str(file), file, image, rgb[..., ::-1], tensor, tensor.float() / 255]
    first, *others = inferencer(inputs, batch_size=2)
    assert len(first.boxes) > 0
    assert first.masks.shape == (len(first.boxes), 64, 64)
    assert first.source == str(file)
    assert first.classes == CLASSES
    for other in others:
        np.testing.assert_allclose(other.boxes, first.boxes, rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(other.labels, first.labels)


def test_one_image_and_no_image(inferencer, images):
    assert len(inferencer(sorted(images.iterdir())[0])) == 1
    assert inferencer([]) == []


def test_results_fall_in_score_and_survive_json(inferencer, images):
    result = inferencer(sorted(images.iterdir())[0])[0]
    assert (np.diff(result.scores) <= 0).all()
    record = json.loads(json.dumps(result.to_dict()))
    assert [entry['name'] for entry in record['objects']] == [CLASSES[label] for label in result.labels]
    from pycocotools import mask as coco_mask

    decoded = coco_mask.decode([entry['mask'] for entry in record['objects']])  # (H, W, n)
    np.testing.assert_array_equal(decoded.transpose(2, 0, 1).astype(bool), result.masks)
    threshold = float(np.median(result.scores))
    assert len(result.to_dict(threshold)['objects']) == (result.scores >= threshold).sum() < len(result.scores)


def test_enlarged_scales_image_boxes_and_masks_alike():
    masks = np.zeros((1, 4, 6), dtype=bool)
    masks[0, 1:3, 2:5] = True
    small = Detection(
        image=np.zeros((4, 6, 3), np.uint8),
        boxes=np.float32([[2, 1, 5, 3]]),
        scores=np.float32([0.9]),
        labels=np.int64([1]),
        masks=masks,
        classes=CLASSES,
    )
    large = small.enlarged(3)
    assert large.image.shape == (12, 18, 3)
    rows, columns = np.nonzero(large.masks[0])
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_array_equal(large.boxes[0], box)


def test_drawing_is_enlarged_and_changes_only_with_objects(inferencer, images):
    result = inferencer(sorted(images.iterdir())[0])[0]
    drawn, plain = inferencer.draw(result, score_thr=0.0), inferencer.draw(result, score_thr=1.1)
    assert drawn.shape == plain.shape == (512, 512, 3)
    np.testing.assert_array_equal(plain, result.enlarged(8).image[..., ::-1])
    assert (drawn != plain).any()


@pytest.mark.parametrize('image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), 'none.jpg'])
def test_unusable_images_are_named(image, inferencer):
    with pytest.raises(UserError, match=r'none\.jpg|shape \(H, W, 3\)'):
        inferencer([image])


@pytest.mark.parametrize('pattern', ['{images}', '{images}/*.jpg', '{images}/000000.jpg'])
def test_demo_writes_picture_and_json_for_each_image(pattern, demo, images, checkpoint, tmp_path, capsys):
    source = pattern.format(images=images)
    expected = 1 if source.endswith('000000.jpg') else 3
    assert demo([source, str(CONFIG), str(checkpoint), '--out-dir', str(tmp_path), '--score-thr', '0.1']) == 0
    assert len(list(tmp_path.glob('*.png'))) == len(list(tmp_path.glob('*.json'))) == expected
    assert f'in {expected} images' in capsys.readouterr().out
    assert json.loads((tmp_path / '000000.json').read_text())['height'] == 64


def test_demo_keeps_images_of_one_stem_apart(demo, images, checkpoint, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    with Image.open(images / '000000.jpg') as image:
        image.save(folder / 'a.jpg')
        image.save(folder / 'a.png')
    assert demo([str(folder), str(CONFIG), str(checkpoint), '--out-dir', str(tmp_path / 'out')]) == 0
    assert sorted(path.name for path in (tmp_path / 'out').glob('*.json')) == ['a.jpg.json', 'a.png.json']


@pytest.mark.parametrize(
    ('arguments', 'culprit'),
    [
        (['nowhere', '{config}', '{checkpoint}'], 'no image at nowhere'),
        (['{tmp}', '{config}', '{checkpoint}'], 'no image at'),
        (['{images}', '{config}', 'none.pth'], 'none.pth does not exist'),
        (['{images}', 'none.py', '{checkpoint}'], 'none.py does not exist'),
        (['{images}', '{config}', '{checkpoint}', '--device', 'abacus'], "device 'abacus' is not usable"),
    ],
)
def test_demo_errors_are_one_line(arguments, culprit, demo, images, checkpoint, tmp_path, capsys):
    places = dict(images=images, config=CONFIG, checkpoint=checkpoint, tmp=tmp_path)
    assert demo([argument.format(**places) for argument in arguments] + ['--out-dir', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('error: ')
    assert culprit in error
    assert '\n' not in error
