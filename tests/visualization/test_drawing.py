"""Pictures at the size of the image; labels that are legible, inside the border and apart from one another."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('cv2')
pytest.importorskip('matplotlib')

from mmhyena.visualization import draw_classes, draw_objects, draw_regions, full_palette
from mmhyena.visualization import labels as labels_module

RED, GREEN = (200, 30, 30), (30, 160, 30)
SIZES = [(160, 160), (120, 1600), (1600, 1600), (9, 500), (500, 9), (1, 1)]


@pytest.fixture
def written(monkeypatch):
    """Lines and boxes of all labels that are written."""
    found = []
    write = labels_module.LabelWriter.write

    def record(self, line, corners, color):
        done = write(self, line, corners, color)
        if done:
            found.append((line, self._taken[-1], self.image.size))
        return done

    monkeypatch.setattr(labels_module.LabelWriter, 'write', record)
    return found


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize('size', SIZES)
def test_labels_lie_within_the_border_and_apart(size, written):
    height, width = size
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (30, 2, 2)) * [width, height]
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    image = gray(*size)
    drawn = draw_objects(image, boxes, [0] * 30, ['cat'], [RED], rng.uniform(0, 1, 30))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == 90).all()
    for _, (left, top, right, bottom), _ in written:
        assert left >= 0 and top >= 0 and right <= width and bottom <= max(height, bottom - top)
    for i, (_, first, _) in enumerate(written):
        for _, second, _ in written[:i]:
            assert first[0] >= second[2] or second[0] >= first[2] or first[1] >= second[3] or second[1] >= first[3]
    assert bool(written) == (width >= 160)


def test_a_label_reads_name_and_score(written):
    draw_objects(gray(300, 300), np.array([[50, 60, 200, 210]]), [0], ['cat'], [RED], np.array([0.847]))
    draw_classes(gray(300, 300), [('dog', 0.5), ('cat', 0.25)])
    assert [line for line, _, _ in written] == ['cat 0.85', 'dog 0.50', 'cat 0.25']


def test_long_names_are_shortened_and_keep_their_score(written):
    draw_objects(gray(64, 100), np.array([[0, 0, 60, 60]]), [0], ['hippopotamus amphibius'], [RED], np.array([0.5]))
    ((line, _, _),) = written
    assert line.startswith('hippo') and line.endswith('… 0.50')


def test_labels_grow_with_the_picture(written):
    for side in (160, 640, 1600):
        draw_objects(gray(side, side), np.array([[0, side / 2, side, side]]), [0], ['cat'], [RED], np.array([0.5]))
    heights = [box[3] - box[1] for _, box, _ in written]
    assert 13 <= heights[0] <= heights[1] < heights[2] / 2 < 40


def test_masks_boxes_and_labels_have_the_colors_of_their_objects():
    mask = np.zeros((1, 100, 200), bool)
    mask[0, 50:90, 60:140] = True
    drawn = draw_objects(gray(100, 200), np.array([[60, 50, 140, 90]]), [0], ['cat'], [RED], np.array([0.5]), mask, 0.5)
    np.testing.assert_array_equal(drawn[70, 100], np.round(np.array(RED) * 0.5 + 45))
    for pixel in ((50, 60), (89, 139)):  # the corners of the box, on the pixels of the mask
        np.testing.assert_array_equal(drawn[pixel], RED)
    assert (drawn[52:, :58] == 90).all() and (drawn[92:] == 90).all()


@pytest.mark.parametrize('size', [(160, 160), (160, 1600), (30, 200)])
def test_names_of_regions_are_whole_also_at_the_border(size, written):
    class_map = np.zeros(size, int)
    class_map[:, -12:] = 1
    class_map[-5:, :20] = 2
    drawn = draw_regions(gray(*size), class_map, ('background', 'street', 'car'), ((0, 0, 0), RED, GREEN), 1.0)
    assert [line for line, _, _ in written] == ['street', 'car']
    covered = np.zeros(size, bool)
    for _, (left, top, right, bottom), _ in written:
        assert 0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]
        covered[top:bottom, left:right] = True
    assert (drawn[(class_map == 0) & ~covered] == 90).all()  # no tint over the background
    for label, color in ((1, RED), (2, GREEN)):
        assert (drawn[(class_map == label) & ~covered] == color).all()


def test_ignored_pixels_stay_untouched(written):
    drawn = draw_regions(gray(50, 50), np.full((50, 50), 255), ('street',), (RED,))
    assert (drawn == 90).all() and not written


def test_classes_that_have_no_room_are_left_out(written):
    draw_classes(gray(40, 200), [(f'class {i}', 0.1) for i in range(5)])
    assert [line for line, _, _ in written] == ['class 0 0.10', 'class 1 0.10']


def test_palettes():
    assert full_palette([[1, 2, 3], (4, 5, 6), (7, 8, 9)], 2) == ((1, 2, 3), (4, 5, 6))
    assert len(set(full_palette('random', 20))) == len(set(full_palette(((1, 2, 3),), 20))) == 20


def test_pictures_of_data_samples():
    torch = pytest.importorskip('torch')
    pytest.importorskip('mmdet')
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    from mmhyena.visualization import draw_sample

    boxes = torch.tensor([[10.0, 40, 60, 90], [70, 40, 95, 90]])
    found = InstanceData(bboxes=boxes, labels=torch.tensor([1, 0]), scores=torch.tensor([0.9, 0.1]))
    meta = dict(classes=('a', 'b'), palette=[RED, GREEN])
    drawn = draw_sample(gray(100, 100), DetDataSample(pred_instances=found), meta)
    np.testing.assert_array_equal(drawn[89, 30], GREEN)
    assert (drawn[:, 70:] == 90).all()  # below the threshold
    truth = InstanceData(bboxes=boxes, labels=torch.tensor([1, 0]))
    both = draw_sample(gray(100, 100), DetDataSample(pred_instances=found, gt_instances=truth), meta)
    assert both.shape == (100, 200, 3)
    np.testing.assert_array_equal(both[89, 80], RED)
    np.testing.assert_array_equal(both[:, 100:], drawn)
    assert draw_sample(gray(10, 10), SimpleNamespace(pred_panoptic_seg=1).__dict__, meta) is None
