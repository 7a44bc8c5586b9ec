"""Names of classes from a COCO file, a list, folders and a text file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmhyena.datasets.class_names import read_classes
from mmhyena.errors import UserError


def test_coco_categories_by_id(tmp_path: Path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps({'categories': [dict(id=7, name='dog'), dict(id=2, name='cat')]}))
    assert read_classes(path) == ('cat', 'dog')


def test_folders_by_name(tmp_path: Path):
    for name in ('dog', 'cat', '.cache'):
        (tmp_path / name).mkdir()
    (tmp_path / 'readme.txt').touch()
    assert read_classes(str(tmp_path)) == ('cat', 'dog')


def test_lines_of_text(tmp_path: Path):
    (tmp_path / 'a.txt').write_text('wet soil\n\n dry soil \n')
    assert read_classes(tmp_path / 'a.txt') == ('wet soil', 'dry soil')


def test_names_themselves():
    assert read_classes(['b', 'a']) == ('b', 'a')


@pytest.mark.parametrize(
    ('name', 'text', 'culprit'),
    [
        ('none.json', None, 'does not exist'),
        ('a.json', '[1]', 'not a COCO file'),
        ('a.json', '{"categories": 3}', 'not a COCO file'),
        ('a.json', '{', 'not a COCO file'),
        ('a.json', '{"categories": []}', 'names no class'),
        ('a.csv', 'cat', r'\*\.json, a list'),
        ('a.txt', 'cat\ncat', "class 'cat' twice"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, text: str | None, culprit: str, tmp_path: Path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=culprit):
        read_classes(tmp_path / name)
