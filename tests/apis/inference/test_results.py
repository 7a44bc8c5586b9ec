"""Typed results: their order, their json and their pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mmhyena.apis.inference.results import Classification, Segmentation
from mmhyena.datasets.shapes import CLASSES

PALETTE = ((0, 0, 0), (250, 0, 0), (0, 250, 0), (0, 0, 250))


@pytest.fixture
def image(images) -> np.ndarray:
    with Image.open(sorted(images.iterdir())[0]) as opened:
        return np.array(opened.convert('RGB'))[..., ::-1].copy()


def decode(masks: list[dict]) -> np.ndarray:
    """Return run-length encoded masks as (n, H, W), bool."""
    from pycocotools import mask as coco_mask

    return coco_mask.decode(masks).transpose(2, 0, 1).astype(bool)


def test_detection(make_inferencer, image):
    (result,) = make_inferencer('detection')(image)
    assert (np.diff(result.scores) <= 0).all()
    record = json.loads(json.dumps(result.to_dict()))
    assert [entry['name'] for entry in record['objects']] == [CLASSES[label] for label in result.labels]
    np.testing.assert_allclose([entry['bbox'] for entry in record['objects']], result.boxes)
    np.testing.assert_array_equal(decode([entry['mask'] for entry in record['objects']]), result.masks)
    threshold = float(np.median(result.scores))
    assert len(result.to_dict(threshold)['objects']) == (result.scores >= threshold).sum() < len(result.scores)


def test_segmentation():
    class_map = np.array([[0, 0, 0, 3], [3, 3, 3, 1]])
    result = Segmentation(
        image=np.zeros((2, 4, 3), np.uint8), classes=('a', 'b', 'c'), class_map=class_map, palette=PALETTE
    )
    assert list(result.shares.items()) == [(3, 0.5), (0, 0.375), (1, 0.125)]
    classes = json.loads(json.dumps(result.to_dict()))['classes']
    assert {entry['name']: entry['share'] for entry in classes} == {'3': 0.5, 'a': 0.375, 'b': 0.125}
    restored = np.full_like(class_map, -1)
    for entry, mask in zip(classes, decode([entry['mask'] for entry in classes])):
        restored[mask] = entry['label']
    np.testing.assert_array_equal(restored, class_map)


def test_classification():
    scores = np.float32([0.1, 0.6, 0.05, 0.25])
    result = Classification(image=np.zeros((2, 4, 3), np.uint8), classes=('a', 'b', 'c', 'd'), scores=scores)
    assert [name for _, name, _ in result.top(3)] == ['b', 'd', 'a']
    classes = json.loads(json.dumps(result.to_dict(top_k=2)))['classes']
    assert [(entry['label'], entry['name']) for entry in classes] == [(1, 'b'), (3, 'd')]
    assert [entry['score'] for entry in classes] == pytest.approx([0.6, 0.25])
    assert len(result.to_dict()['classes']) == 4


def test_frames_of_a_video_name_it():
    frame = Classification(
        image=np.zeros((2, 4, 3), np.uint8),
        classes=('a',),
        scores=np.float32([1]),
        source='x.mp4',
        frame=3,
        seconds=0.5,
    )
    record = frame.to_dict()
    assert (record['video'], record['frame'], record['seconds']) == ('x.mp4', 3, 0.5) and 'image' not in record


def test_drawing_of_a_detection_changes_only_with_objects(make_inferencer, image):
    inferencer = make_inferencer('detection')
    (result,) = inferencer(image)
    drawn, plain = inferencer.draw(result, score_thr=0.0), inferencer.draw(result, score_thr=1.1)
    assert drawn.shape == plain.shape == image.shape
    np.testing.assert_array_equal(plain, image[..., ::-1])
    assert (drawn != plain).any()


def test_drawing_of_a_segmentation_has_the_colors_of_the_classes(make_inferencer, image):
    inferencer = make_inferencer('segmentation')
    (result,) = inferencer(image)
    drawn = inferencer.draw(result, opacity=1.0)
    expected = np.array(result.palette)[result.class_map]
    background = result.class_map == result.classes.index('background')
    expected[background] = image[background][..., ::-1]
    assert drawn.shape == expected.shape == image.shape
    assert len(set(result.palette)) == len(result.classes)
    assert (drawn == expected).all(-1).mean() > 0.4  # all but the names of the classes
    faint = inferencer.draw(result, opacity=0.0)
    assert (faint == image[..., ::-1]).all(-1).mean() > 0.4


def test_drawing_of_a_classification_names_the_likeliest(make_inferencer, image):
    inferencer = make_inferencer('classification')
    (result,) = inferencer(image)
    none, one, three = (inferencer.draw(result, top_k=k) for k in (0, 1, 3))
    np.testing.assert_array_equal(none, image[..., ::-1])
    rows = [np.flatnonzero((drawn != none).any((1, 2))) for drawn in (one, three)]
    assert 0 < rows[0].max() < rows[1].max() < 64  # lines of text from the top
