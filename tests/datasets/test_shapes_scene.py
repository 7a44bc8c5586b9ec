"""Shapes scenes: the pictures are reproducible, the masks are what is seen."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from mmhyena.datasets.shapes import (
    CLASSES,
    MIN_VISIBLE_FRACTION,
    MIN_VISIBLE_PIXELS,
    SPLITS,
    render_scene,
    render_single,
)
from mmhyena.datasets.shapes.figures import Figure, random_figure
from mmhyena.datasets.shapes.photos import BACKGROUNDS, MATERIALS, load_photo, split_region
from mmhyena.datasets.shapes.scene import Canvas, image_rng

SIZE = (128, 160)


@pytest.fixture(scope='module')
def scenes():
    return [render_scene(i, size=SIZE) for i in range(120)]


def test_same_arguments_same_pixels_in_any_order():
    forward = [render_scene(i, seed=3, size=SIZE) for i in range(4)]
    backward = [render_scene(i, seed=3, size=SIZE) for i in reversed(range(4))][::-1]
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.owner, b.owner)
        np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize('change', [{'seed': 1}, {'split': 'val'}, {'index': 1}])
def test_other_arguments_other_pixels(change):
    base = {'index': 0, 'seed': 0, 'split': 'train', 'size': SIZE}
    assert not np.array_equal(render_scene(**base).image, render_scene(**{**base, **change}).image)


def test_single_differs_by_class_and_index():
    images = {render_single(i, label).tobytes() for i in range(3) for label in range(len(CLASSES))}
    assert len(images) == 3 * len(CLASSES)
    np.testing.assert_array_equal(render_single(2, 1), render_single(2, 1))


def test_scene_is_consistent(scenes):
    for scene in scenes:
        assert scene.image.shape == (*SIZE, 3)
        assert scene.image.dtype == np.uint8
        masks = scene.masks
        assert masks.shape == (len(scene.labels), *SIZE)
        assert masks.sum(axis=0).max() <= 1  # no pixel belongs to two instances
        np.testing.assert_array_equal(masks.any(axis=0), scene.semantic > 0)
        for label, mask in zip(scene.labels, masks, strict=True):
            assert (scene.semantic[mask] == label + 1).all()


def test_every_instance_stays_visible(scenes):
    for scene in scenes:
        areas = scene.masks.sum(axis=(1, 2))
        assert (areas >= np.maximum(MIN_VISIBLE_PIXELS, MIN_VISIBLE_FRACTION * scene.full_areas)).all()
        assert (areas <= scene.full_areas).all()


def test_the_problem_has_small_hidden_and_cut_figures(scenes):
    visible, longest, cut, counts = [], [], 0, np.zeros(len(CLASSES), int)
    for scene in scenes:
        counts += np.bincount(scene.labels, minlength=len(CLASSES))
        for mask, full in zip(scene.masks, scene.full_areas, strict=True):
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            longest.append(max(np.ptp(rows), np.ptp(columns)) + 1)
            visible.append(mask.sum() / full)
            cut += rows[0] == 0 or columns[0] == 0 or rows[-1] == SIZE[0] - 1 or columns[-1] == SIZE[1] - 1
    visible, longest = np.array(visible), np.array(longest)
    assert longest.min() < 18
    assert 0.005 < (longest < 20).mean() < 0.25
    assert ((longest >= 24) & (longest <= 90)).mean() > 0.7
    assert 0.2 < (visible < 0.95).mean() < 0.7
    assert 0.03 < (visible < 0.8).mean() < 0.4
    assert cut > len(longest) // 12
    assert counts.min() > 0.6 * counts.mean()
    assert {len(scene.labels) for scene in scenes} == {2, 3, 4, 5}


def test_no_figure_is_invisible():
    """Also where its color comes from the background, a figure changes what was seen there."""
    for index in range(80):
        canvas = Canvas(image_rng(0, 'train', index, 'scene'), 'train', SIZE)
        for _ in range(5):
            canvas.place()
        change = np.abs(canvas.image - canvas.background).mean(axis=2)
        for number in range(len(canvas.figures)):
            assert change[canvas.owner == number].mean() > 0.02


def test_single_always_shows_its_figure(monkeypatch):
    painted, paint = [], Canvas.paint

    def record(canvas, figure, **kwargs):
        painted.append((paint(canvas, figure, **kwargs), figure.name))

    monkeypatch.setattr(Canvas, 'paint', record)
    for index in range(60):
        render_single(index, index % len(CLASSES))
        assert painted[-1] == (True, CLASSES[index % len(CLASSES)])
    assert 75 < len(painted) < 105  # about half have a second figure


def test_processes_do_not_matter():
    with ProcessPoolExecutor(2, mp_context=get_context('spawn')) as pool:
        futures = [pool.submit(render_scene, index, size=SIZE) for index in range(4)]
        for index, future in enumerate(futures):
            np.testing.assert_array_equal(future.result().image, render_scene(index, size=SIZE).image)


@pytest.mark.parametrize('name', CLASSES)
def test_distance_is_signed_and_scales(name):
    rng = np.random.default_rng(CLASSES.index(name))
    figure = random_figure(rng, name, 60.0, 50.0, 48.0)
    y, x = np.mgrid[:100.0, :100.0]
    distance = figure.distance(x, y)
    # First order at the edge: the gradient there is a unit vector up to the figure's stretch.
    slope = np.hypot(*np.gradient(distance))[np.abs(distance) < 1.0]
    assert 0.7 < np.median(slope) < 1.1
    assert (distance[[0, -1]] > 0).all()
    assert (distance[:, [0, -1]] > 0).all()
    centre_is_inside = distance[48, 50] < 0
    assert centre_is_inside == (name != 'ring')


def test_areas_agree_with_geometry():
    y, x = np.mgrid[:200.0, :200.0]
    r = 80.0
    expected = {
        'circle': (0.0, np.pi * r**2),
        'ring': (0.4, np.pi * r**2 * (1 - 0.6**2)),
        'square': (np.cos(np.pi / 4), 2 * r**2),
        'triangle': (np.cos(np.pi / 3), 0.75 * np.sqrt(3) * r**2),
        'star': (0.5, 5 * 0.5 * r**2 * np.sin(np.pi / 5)),
    }
    for name, (detail, area) in expected.items():
        figure = Figure(name, 100.0, 100.0, r, 0.3, 1.05, detail)
        assert (figure.distance(x, y) <= 0).sum() == pytest.approx(area, rel=0.01), name


def test_splits_use_disjoint_parts_of_every_photograph():
    for name in (*BACKGROUNDS, *MATERIALS):
        width, height = load_photo(name).size
        seen = np.zeros((height, width), int)
        for split in SPLITS:
            left, top, right, bottom = split_region(width, height, split)
            seen[top:bottom, left:right] += 1
        assert (seen == 1).all(), name


@pytest.mark.parametrize(
    ('arguments', 'message'), [({'size': (31, 64)}, 'at least 32'), ({'split': 'test'}, 'train, val')]
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_scene(0, **arguments)


def test_images_larger_than_the_photographs_and_more_of_the_same_figures():
    # The photographs' validation parts have fewer than 480 pixels, so windows take all of one side.
    for index in range(8):
        assert render_scene(index, split='val', size=(480, 480), figure_side=160).image.shape == (480, 480, 3)
    small = [render_scene(index, size=(96, 96)) for index in range(20)]
    large = [render_scene(index, size=(192, 192), figure_side=96) for index in range(20)]
    count = [sum(len(scene.labels) for scene in scenes) for scenes in (small, large)]
    area = [np.concatenate([scene.full_areas for scene in scenes]).mean() for scenes in (small, large)]
    assert 3 < count[1] / count[0] < 5
    assert 0.7 < area[1] / area[0] < 1.4
