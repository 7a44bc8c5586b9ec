"""Inference for the three tasks from files, arrays, PIL images and tensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmhyena.apis import Inferencer, UserError
from mmhyena.apis.inference.results import Classification, Detection, Segmentation
from mmhyena.checkpoints import revert_official
from mmhyena.datasets.shapes import CLASSES

TYPES = dict(detection=Detection, segmentation=Segmentation, classification=Classification)


def read(folder: Path) -> list[np.ndarray]:
    """Return the images of a folder, BGR."""
    return [np.array(Image.open(path).convert('RGB'))[..., ::-1] for path in sorted(folder.iterdir())]


def assert_same(first, second) -> None:
    """Check that two results agree but for rounding."""
    assert type(first) is type(second)
    if isinstance(first, Detection):
        assert len(first.boxes) > 0
        np.testing.assert_allclose(second.boxes, first.boxes, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(second.scores, first.scores, rtol=1e-4)
        np.testing.assert_array_equal(second.labels, first.labels)
        assert (second.masks != first.masks).mean() < 1e-3
    elif isinstance(first, Segmentation):
        assert len(first.shares) > 1
        assert (second.class_map != first.class_map).mean() < 1e-3
    else:
        np.testing.assert_allclose(second.scores, first.scores, rtol=1e-4)


def differ(first, second) -> bool:
    try:
        assert_same(first, second)
    except (AssertionError, ValueError):
        return True
    return False


@pytest.fixture
def batches(inferencer):
    """Shapes of the batches that the backbone gets."""
    shapes: list[tuple[int, ...]] = []
    backbone = inferencer._inferencer.model.backbone
    handle = backbone.register_forward_pre_hook(lambda module, args: shapes.append(tuple(args[0].shape)))
    yield shapes
    handle.remove()


def test_every_kind_of_input_gives_the_same(inferencer, task, images, tmp_path):
    file = tmp_path / 'image.png'
    with Image.open(sorted(images.iterdir())[0]) as opened:
        image = opened.convert('RGB')
    image.save(file)
    rgb = np.array(image)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    inputs = [str(file), file, image, rgb[..., ::-1], tensor, tensor.float() / 255, tensor.double() / 255]
    first, *others = inferencer(inputs, batch_size=2)
    assert type(first) is TYPES[task]
    assert first.task == inferencer.task == task
    assert first.source == str(file)
    assert first.classes == inferencer.classes
    assert first.classes[-len(CLASSES) :] == CLASSES
    np.testing.assert_array_equal(first.image, rgb[..., ::-1])
    for other in others:
        assert_same(first, other)
    assert differ(first, inferencer(rgb)[0])  # the order of the channels counts


def test_one_image_none_and_many(inferencer, images):
    (single,) = inferencer(sorted(images.iterdir())[0])
    assert inferencer([]) == []
    stack = np.stack(read(images))
    for many in (stack, torch.from_numpy(stack[..., ::-1].copy()).permute(0, 3, 1, 2), iter(stack)):
        results = inferencer(many, batch_size=2)
        assert len(results) == 3
    assert single.image.shape == results[0].image.shape


def test_a_batch_equals_single_images_in_order(inferencer, images, batches):
    arrays = read(images)
    singles = inferencer(arrays)
    assert [shape[0] for shape in batches] == [1, 1, 1]
    batches.clear()
    together = inferencer(arrays, batch_size=3)
    assert [shape[0] for shape in batches] == [3]
    for single, result in zip(singles, together, strict=True):
        assert_same(single, result)
    assert differ(together[0], together[1])


def test_images_of_unequal_size_share_a_batch(inferencer, images, batches):
    large, small, _ = read(images)
    small = np.ascontiguousarray(small[:40, :56])
    results = inferencer([small, large, small[:, :30]], batch_size=3)
    assert len(batches) == 1 and batches[0][0] == 3
    assert [result.image.shape[:2] for result in results] == [(40, 56), (64, 64), (40, 30)]
    assert_same(inferencer(large)[0], results[1])  # what needs no padding is as if alone
    for result in results:
        height, width = result.image.shape[:2]
        if isinstance(result, Detection):
            assert result.masks.shape[1:] == (height, width)
            assert (result.boxes >= 0).all() and (result.boxes <= [width, height, width, height]).all()
        elif isinstance(result, Segmentation):
            assert result.class_map.shape == (height, width)


def test_toolkits_stand_side_by_side(make_inferencer, images):
    pytest.importorskip('mmdet'), pytest.importorskip('mmseg'), pytest.importorskip('mmpretrain')
    for _ in range(2):
        for task, kind in TYPES.items():
            (result,) = make_inferencer(task)(read(images)[0])
            assert type(result) is kind
            assert make_inferencer(task).draw(result).dtype == np.uint8


def test_classes_and_colors_without_those_of_the_checkpoint(task, weights, config, images, tmp_path):
    checkpoint = torch.load(weights(task), weights_only=True)
    torch.save(checkpoint['state_dict'], tmp_path / 'bare.pth')
    bare = Inferencer(config(task), tmp_path / 'bare.pth', device='cpu')
    (result,) = bare(read(images)[0])
    # Shapes' configs name the classes but for the classifier, whose data set takes them from folders.
    expected = dict(detection=CLASSES, segmentation=('background', *CLASSES), classification=())
    assert bare.classes == expected[task]
    if task == 'classification':
        assert result.to_dict()['classes'][0]['name'] == str(int(result.scores.argmax()))
    bare.draw(result)


def test_official_classifier(make_inferencer, weights, config, images, tmp_path):
    pytest.importorskip('mmpretrain')
    state = torch.load(weights('classification'), weights_only=True)['state_dict']
    torch.save(dict(state_dict=revert_official(state)), tmp_path / 'official.pth')
    official = Inferencer(config('classification'), tmp_path / 'official.pth', device='cpu')
    expected = make_inferencer('classification')(read(images)[0])[0].scores
    np.testing.assert_array_equal(official(read(images)[0])[0].scores, expected)


def test_data_sets_in_memory_give_rgb(make_inferencer, weights, config, images, tmp_path):
    pytest.importorskip('mmpretrain')
    changed = tmp_path / 'in_memory.py'
    changed.write_text(
        f"_base_ = '{config('classification')}'\n"
        'data_preprocessor = dict(to_rgb=False)\n'
        "test_dataloader = dict(dataset=dict(pipeline=[dict(type='PackInputs')]))\n"
    )
    large, small, _ = read(images)
    inferencer = Inferencer(changed, weights('classification'), device='cpu')
    both = inferencer([large, small[:48]], batch_size=2)
    # The usual pipeline resizes to the size that the image has.
    assert_same(make_inferencer('classification')(large)[0], both[0])


@pytest.mark.parametrize(
    ('image', 'culprit'),
    [
        (np.zeros((4, 4), np.int32), r'shape \(H, W, 3\) and uint8 values, got \(4, 4\) int32'),
        (np.zeros((4, 4, 3), np.float32), r'got \(4, 4, 3\) float32'),
        (np.zeros((0, 4, 3), np.uint8), r'got \(0, 4, 3\) uint8'),
        (torch.zeros(4, 4, 3), r'shape \(3, H, W\) in RGB.*got \(4, 4, 3\)'),
        (torch.full((3, 4, 4), 2.0), r'within \[0, 1\], got 2 to 2'),
        (torch.full((3, 4, 4), float('nan')), r'within \[0, 1\], got nan'),
        (torch.zeros(3, 4, 4, dtype=torch.int64), r'torch\.int64'),
        ('none.jpg', r'none\.jpg cannot be read'),
        (7, 'got int'),
    ],
)
def test_unusable_images_are_named(image, culprit, make_inferencer):
    with pytest.raises(UserError, match=culprit):
        make_inferencer('classification')([image])


def test_unusable_settings_are_named(make_inferencer, weights, config, images, tmp_path):
    with pytest.raises(UserError, match='at least 1, got 0'):
        make_inferencer('classification')(read(images), batch_size=0)
    with pytest.raises(UserError, match=r'does not fit the model: .*use the config it was trained with'):
        Inferencer(config('segmentation'), weights('classification'), device='cpu')
    with pytest.raises(UserError, match='hpx-former-tiny_shapes has no weights in the model index: name a checkpoint'):
        Inferencer(config('classification'), device='cpu')
    (tmp_path / 'no_model.py').write_text("default_scope = 'mmpretrain'")
    with pytest.raises(UserError, match=r'no_model\.py has no test pipeline'):
        Inferencer(tmp_path / 'no_model.py', weights('classification'), device='cpu')


def test_checkpoints_that_run_code_are_refused(config, tmp_path):
    torch.save(dict(state_dict={}, hook=Path('x')), tmp_path / 'unsafe.pth')
    with pytest.raises(UserError, match=r'unsafe\.pth cannot be read as weights'):
        Inferencer(config('classification'), tmp_path / 'unsafe.pth', device='cpu')


def test_exif_orientation_of_pil_images_counts_as_in_files(make_inferencer, images, tmp_path):
    with Image.open(sorted(images.iterdir())[0]) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # turned by 90 degrees
        image.crop((0, 0, 64, 32)).save(tmp_path / 'turned.png', exif=exif)
    with Image.open(tmp_path / 'turned.png') as opened:
        (result,) = make_inferencer('classification')(opened)
    assert result.image.shape == (64, 32, 3)


def test_results_survive_json(inferencer, images):
    result = inferencer(sorted(images.iterdir())[0])[0]
    record = json.loads(json.dumps(result.to_dict()))
    assert (record['task'], record['height'], record['width']) == (inferencer.task, 64, 64)
    assert record['image'] == result.source
