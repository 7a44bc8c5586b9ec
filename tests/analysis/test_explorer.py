"""What the web demo shows of a model and an image, without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmhyena.analysis.explorer import Explorer, ModelShelf, enlarge
from mmhyena.datasets.shapes import CLASSES
from mmhyena.errors import UserError

MAPS = dict(
    detection=[f'backbone {i}' for i in range(4)] + [f'neck {i}' for i in range(4)],
    segmentation=[f'backbone {i}' for i in range(4)],
    classification=['backbone 0'],
)


@pytest.fixture
def explorer(task, config, weights) -> Explorer:
    return Explorer(config(task), weights(task), 'cpu')


@pytest.fixture
def photo(images) -> Path:
    return images / '000000.jpg'


def test_everything_that_the_page_shows(explorer, task, photo):
    picture, table = explorer.predict(photo, score_thr=0.0)
    image = np.array(Image.open(photo))
    assert picture.shape == enlarge(image).shape and (picture != enlarge(image)).any()
    assert table.rows and all(len(row) == len(table.headers) for row in table.rows)
    assert {row[0] for row in table.rows} <= {'background', *CLASSES}

    fed = explorer.input_picture(photo)
    assert fed.dtype == np.uint8 and min(fed.shape[:2]) >= 384
    features = explorer.features(photo)
    assert [each.name for each in features] == MAPS[task]
    assert all(each.picture.shape[2] == 3 and np.ptp(each.picture) > 200 for each in features)

    assert np.ptp(explorer.kernels()) > 200

    height, width = fed.shape[:2]
    near, far = ((width * 0.2, height * 0.2), (width * 0.8, height * 0.8))
    for name in (features[0].name, features[-1].name):
        first, about = explorer.field(photo, near, name)
        second, _ = explorer.field(photo, far, name)
        assert first.shape == second.shape == fed.shape
        assert (first != second).any()
        assert f'feature of {name} at pixel (' in about and '95% from within' in about


def test_the_input_is_the_image_as_the_pipeline_leaves_it(explorer, task, photo):
    fed = explorer.inferencer.prepare(photo)
    assert fed.tensor.shape[-2:] == fed.picture.shape[:2]
    preprocessor = explorer.model.data_preprocessor
    mean, std = (getattr(preprocessor, name).flatten().numpy() for name in ('mean', 'std'))
    normalized = (fed.picture - mean) / std
    height, width = (64, 64) if task != 'classification' else fed.picture.shape[:2]  # the rest is padding
    got = fed.tensor[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got[:height, :width], normalized[:height, :width], atol=1e-4)


def test_wrong_input_is_one_clear_line(explorer, task, photo, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(photo.read_bytes()[:100])
    for call in (explorer.predict, explorer.features, explorer.input_picture):
        with pytest.raises(UserError, match=r'broken\.jpg cannot be read as an image'):
            call(broken)
    with pytest.raises(UserError, match=r'outside the picture of \d+ x \d+ pixels'):
        explorer.field(photo, (1e4, 3), MAPS[task][0])
    with pytest.raises(UserError, match='there is no level 9'):
        explorer.field(photo, (3, 3), 'backbone 9')
    with pytest.raises(UserError, match="names are of the form 'backbone 3'"):
        explorer.field(photo, (3, 3), 'head 0')


def test_models_are_loaded_when_they_are_chosen(task, config, weights, tmp_path):
    name = config(task).stem
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'no weights')
    shelf = ModelShelf([(str(config(task)), str(weights(task))), (str(config(task)), str(broken))], 'cpu')
    assert shelf.names == [name, f'{name} (2)']
    assert shelf.get(name) is shelf.get(name)
    with pytest.raises(UserError, match=r'broken\.pth'):
        shelf.get(f'{name} (2)')
    with pytest.raises(UserError, match='there is no model other: choose one of'):
        shelf.get('other')


@pytest.mark.parametrize(
    ('size', 'expected'), [((64, 100), (384, 600)), ((100, 64), (600, 384)), ((500, 400), (500, 400))]
)
def test_small_pictures_are_enlarged_by_whole_factors(size, expected):
    picture = np.arange(np.prod(size) * 3).reshape(*size, 3).astype(np.uint8)
    assert enlarge(picture).shape[:2] == expected
    step = expected[0] // size[0]
    np.testing.assert_array_equal(enlarge(picture)[::step, ::step], picture)
