"""The demo for the three tasks: pictures, json, one line at the end, one line for wrong input."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo():
    spec = importlib.util.spec_from_file_location('image_demo', ROOT / 'demo' / 'image_demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize('pattern', ['{images}', '{images}/*.jpg', '{images}/000000.jpg'])
def test_picture_and_json_for_each_image(pattern, demo, task, images, config, weights, tmp_path, capsys):
    source = pattern.format(images=images)
    expected = 1 if source.endswith('000000.jpg') else 3
    out = tmp_path / 'a' / 'b'
    options = ['--out-dir', str(out), '--score-thr', '0.1', '--batch-size', '2', '--device', 'cpu']
    assert demo([source, str(config(task)), str(weights(task)), *options]) == 0
    for picture in out.glob('*.png'):
        with Image.open(picture) as image:
            assert image.size == (64, 64)
    assert len(list(out.glob('*.png'))) == len(list(out.glob('*.json'))) == expected
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.endswith(f'in {expected} images: pictures and json files are in {out}')
    record = json.loads((out / '000000.json').read_text())
    assert (record['task'], record['height'], record['image']) == (task, 64, str(images / '000000.jpg'))
    if task == 'detection':
        counts = [len(json.loads(file.read_text())['objects']) for file in out.glob('*.json')]
        assert last.startswith(f'{sum(counts)} objects (')
    else:
        assert 'classes (' in last


def test_name_in_the_model_index(demo, images, config, weights, tmp_path):
    pytest.importorskip('mmpretrain')
    arguments = [str(images / '000000.jpg'), config('classification').stem, str(weights('classification'))]
    assert demo([*arguments, '--out-dir', str(tmp_path), '--top-k', '2']) == 0
    assert len(json.loads((tmp_path / '000000.json').read_text())['classes']) == 2


def test_images_of_one_stem_are_kept_apart(demo, images, config, weights, tmp_path):
    pytest.importorskip('mmpretrain')
    folder = tmp_path / 'in'
    folder.mkdir()
    with Image.open(images / '000000.jpg') as image:
        image.save(folder / 'a.jpg')
        image.save(folder / 'a.png')
    arguments = [str(folder), str(config('classification')), str(weights('classification'))]
    assert demo([*arguments, '--out-dir', str(tmp_path / 'out')]) == 0
    assert sorted(path.name for path in (tmp_path / 'out').glob('*.json')) == ['a.jpg.json', 'a.png.json']


def test_images_of_one_name_in_several_folders(demo, images, config, weights, tmp_path):
    pytest.importorskip('mmpretrain')
    before = {}
    for number, folder in enumerate(('x', 'y/z')):
        (tmp_path / 'in' / folder).mkdir(parents=True)
        file = tmp_path / 'in' / folder / 'a.png'
        with Image.open(sorted(images.iterdir())[number]) as image:
            image.save(file)
        before[file] = file.read_bytes()
    out = tmp_path / 'out'
    words = [f'{tmp_path}/in/**/a.png', str(config('classification')), str(weights('classification'))]
    assert demo([*words, '--out-dir', str(out)]) == 0
    for folder in ('x', 'y/z'):
        record = json.loads((out / folder / 'a.json').read_text())
        assert record['image'] == str(tmp_path / 'in' / folder / 'a.png')
        assert (out / folder / 'a.png').is_file()
    assert (out / 'x/a.json').read_text() != (out / 'y/z/a.json').read_text()
    assert all(file.read_bytes() == content for file, content in before.items())


def test_pictures_in_the_folder_of_the_images_replace_none(demo, images, config, weights, tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    folder = tmp_path / 'in'
    folder.mkdir()
    (folder / 'a.jpg').write_bytes((images / '000000.jpg').read_bytes())
    words = [str(folder), str(config('classification')), str(weights('classification'))]
    for _ in range(2):  # the second time with the picture of the first among the images
        assert demo([*words, '--out-dir', str(folder)]) == 0
    assert (folder / 'a.jpg').read_bytes() == (images / '000000.jpg').read_bytes()
    (folder / 'b.png').write_bytes((folder / 'a.png').read_bytes())
    assert demo([*words, '--out-dir', str(folder)]) == 2
    assert '.png would replace an image' in capsys.readouterr().err
    assert (folder / 'b.png').read_bytes() == (folder / 'a.png').read_bytes()


@pytest.mark.parametrize(
    ('arguments', 'culprit'),
    [
        (['nowhere', '{config}', '{checkpoint}'], 'no image at nowhere'),
        (['{tmp}', '{config}', '{checkpoint}'], 'no image at'),
        (['{tmp}/broken/broken.png', '{config}', '{checkpoint}'], 'broken.png cannot be read as an image'),
        (['{images}', '{config}', 'none.pth'], 'none.pth does not exist'),
        (['{images}', '{config}', '{tmp}/broken/broken.png'], 'broken.png cannot be read'),
        (['{images}', 'none.py', '{checkpoint}'], 'none.py does not exist'),
        (['{images}', 'hpx-former-tiny_shape'], 'did you mean hpx-former-tiny_shapes'),
        (['{images}', 'hpx-former-tiny_shapes'], 'has no weights in the model index: name a checkpoint'),
        (['{images}', '{config}', '{checkpoint}', '--device', 'abacus'], "device 'abacus' is not usable"),
        (['{images}', '{config}', '{checkpoint}', '--batch-size', '0'], '--batch-size 0: give at least 1'),
        (['{images}', '{config}', '{checkpoint}', '--out-dir', '{tmp}/file'], '--out-dir'),
    ],
)
def test_errors_are_one_line(arguments, culprit, demo, images, config, weights, tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'broken.png').write_text('no picture')
    (tmp_path / 'file').touch()
    places = dict(images=images, config=config('classification'), checkpoint=weights('classification'), tmp=tmp_path)
    words = [argument.format(**places) for argument in arguments]
    if '--out-dir' not in words:
        words += ['--out-dir', str(tmp_path / 'out')]
    capsys.readouterr()
    assert demo(words) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if 'Warning' not in line]
    error = errors[-1]
    assert error.startswith('error: ')
    assert culprit in error
    assert sum(line.startswith('error: ') for line in errors) == 1 and 'Traceback' not in ''.join(errors)
