"""Pictures of predictions: one per image, whatever the folders and names of the images, and none over an image."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from mmhyena.engine import DrawPredictionsHook
from mmhyena.errors import UserError


class Images:
    """A data set of image paths."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return dict(img_path=self.paths[index])


def targets(out: str, *paths: str) -> list[str]:
    hook = DrawPredictionsHook(out)
    hook.before_test(SimpleNamespace(test_dataloader=SimpleNamespace(dataset=Images(*paths))))
    return [str(hook._target(path)) for path in paths]


def test_images_of_one_name_in_several_folders():
    assert targets('/o', '/d/x/a.jpg', '/d/y/a.jpg') == ['/o/x/a.png', '/o/y/a.png']


def test_images_of_one_stem():
    assert targets('/o', '/d/a.jpg', '/d/a.png', '/d/b.png') == ['/o/a.jpg.png', '/o/a.png.png', '/o/b.png']


def test_relative_names():
    assert targets('o', 'data/val/a.jpg', 'data/val/../val/b.jpg') == ['o/a.png', 'o/b.png']


@pytest.mark.parametrize('out', ['/d', '/d/../d', 'here'])
def test_no_picture_replaces_an_image(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('there').mkdir()
    Path('here').symlink_to('there')
    folder = str(tmp_path / 'there') if out == 'here' else '/d'
    with pytest.raises(UserError, match=r'--show-dir .* would replace an image'):
        targets(out, f'{folder}/a.png', f'{folder}/b.png')
