"""The demo for the three tasks: pictures, json, one line at the end, one line for wrong input."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
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
    options = ['--out-dir', str(out), '--score-thr', '0.1', '--batch-size', '2', '--device', 'cpu', '--save-json']
    assert demo([source, str(config(task)), str(weights(task)), *options]) == 0
    for picture in out.glob('*.png'):
        with Image.open(picture) as image:
            assert image.size == (64, 64)
    assert len(list(out.glob('*.png'))) == len(list(out.glob('*.json'))) == expected
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.endswith(f'in {expected} images: see {out}')
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
    assert demo([*arguments, '--out-dir', str(tmp_path), '--top-k', '2', '--save-json']) == 0
    assert len(json.loads((tmp_path / '000000.json').read_text())['classes']) == 2


def test_images_of_one_stem_are_kept_apart(demo, images, config, weights, tmp_path):
    pytest.importorskip('mmpretrain')
    folder = tmp_path / 'in'
    folder.mkdir()
    with Image.open(images / '000000.jpg') as image:
        image.save(folder / 'a.jpg')
        image.save(folder / 'a.png')
    arguments = [str(folder), str(config('classification')), str(weights('classification'))]
    assert demo([*arguments, '--out-dir', str(tmp_path / 'out'), '--save-json']) == 0
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
    assert demo([*words, '--out-dir', str(out), '--save-json']) == 0
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


def write_video(file: Path, images: Path, count: int) -> Path:
    from mmhyena.apis.inference.video import VideoWriter

    with VideoWriter(file, fps=10.0) as writer:
        for i in range(count):
            with Image.open(sorted(images.iterdir())[i % 3]) as image:
                writer.write(np.array(image.convert('RGB')))
    return file


def test_folders_with_subfolders_images_videos_and_broken_files(demo, images, config, weights, tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    folder = tmp_path / 'in'
    (folder / 'a/b').mkdir(parents=True)
    shutil.copy(images / '000000.jpg', folder / 'a/b/x.jpg')
    (folder / 'a/broken.png').write_text('no picture')
    (folder / 'a/broken.mp4').write_text('no video')
    write_video(folder / 'a/clip.mp4', images, 5)
    before = {file: file.read_bytes() for file in folder.rglob('*') if file.is_file()}
    out = folder / 'out'
    words = [str(folder), str(config('classification')), str(weights('classification')), '--out-dir', str(out)]
    for _ in range(2):  # the second time with the output of the first within the folder
        assert demo([*words, '--save-json', '--batch-size', '2']) == 0
        written = sorted(str(file.relative_to(out)) for file in out.rglob('*') if file.is_file())
        assert written == ['a/b/x.json', 'a/b/x.png', 'a/clip.json', 'a/clip.mp4']
        printed = capsys.readouterr()
        assert 'in 1 images and 5 frames of 1 videos: see ' in printed.out
        assert printed.out.rstrip().endswith('2 of 4 files were skipped')
        assert printed.err.count('skipped: ') == 2 and 'broken.mp4' in printed.err and 'broken.png' in printed.err
    assert all(file.read_bytes() == content for file, content in before.items())
    records = json.loads((out / 'a/clip.json').read_text())
    assert [record['frame'] for record in records] == list(range(5))
    assert records[3]['seconds'] == pytest.approx(0.3) and records[3]['video'] == str(folder / 'a/clip.mp4')


def test_video_of_detections_has_the_frames_of_its_source(demo, task, images, config, weights, tmp_path, capsys):
    from mmhyena.apis.inference.video import Video

    clip = write_video(tmp_path / 'clip.mp4', images, 4)
    words = [str(clip), str(config(task)), str(weights(task)), '--score-thr', '0.1', '--max-frames', '3']
    assert demo([*words, '--out-dir', str(tmp_path / 'out')]) == 0
    drawn, source = list(Video(tmp_path / 'out/clip.mp4')), list(Video(clip))
    assert len(drawn) == 3 and drawn[0].image.shape == source[0].image.shape == (64, 64, 3)
    assert not (tmp_path / 'out/clip.json').exists()
    assert all((frame.image != other.image).any() for frame, other in zip(drawn, source))
    assert 'in 3 frames of 1 videos' in capsys.readouterr().out
    assert demo([*words, '--out-dir', str(tmp_path)]) == 2
    assert 'clip.mp4 would replace an input' in capsys.readouterr().err


def test_an_image_by_its_address(demo, images, config, weights, tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    handler = partial(SimpleHTTPRequestHandler, directory=str(images))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f'http://127.0.0.1:{server.server_port}/000000.jpg'
        words = [str(config('classification')), str(weights('classification')), '--out-dir', str(tmp_path)]
        assert demo([url, *words, '--save-json']) == 0
        assert json.loads((tmp_path / '000000.json').read_text())['image'] == url
        capsys.readouterr()
        assert demo([url.replace('000000', 'none'), *words]) == 2
        assert 'none.jpg cannot be downloaded: the server answered 404' in capsys.readouterr().err
    finally:
        server.shutdown()
        server.server_close()


def test_a_camera_is_written_until_it_is_interrupted(demo, images, config, weights, tmp_path, capsys, monkeypatch):
    pytest.importorskip('mmpretrain')
    from mmhyena.apis.inference import video

    clip = write_video(tmp_path / 'clip.mp4', images, 6)
    capture = video.cv2.VideoCapture

    class Camera:
        """A clip in place of a device, and Ctrl-C while the fourth frame is read."""

        def __init__(self, index):
            assert index == 7
            self.inner, self.grabbed = capture(str(clip)), 0

        def grab(self):
            self.grabbed += 1
            if self.grabbed == 4:
                raise KeyboardInterrupt
            return self.inner.grab()

        def __getattr__(self, name):
            return getattr(self.inner, name)

    monkeypatch.setattr(video.cv2, 'VideoCapture', Camera)
    words = ['7', str(config('classification')), str(weights('classification')), '--out-dir', str(tmp_path / 'out')]
    assert demo([*words, '--save-json']) == 0
    assert 'in 3 frames of 1 videos' in capsys.readouterr().out
    monkeypatch.undo()
    assert len(list(video.Video(tmp_path / 'out/camera7.mp4'))) == 3
    records = json.loads((tmp_path / 'out/camera7.json').read_text())
    assert [record['video'] for record in records] == ['camera 7'] * 3


@pytest.mark.parametrize(
    ('arguments', 'culprit'),
    [
        (['97', '{config}', '{checkpoint}'], 'camera 97 cannot be opened'),
        (['{tmp}/broken/broken.mp4', '{config}', '{checkpoint}'], 'broken.mp4 cannot be read as a video'),
        (['{images}', '{config}', '{checkpoint}', '--max-frames', '0'], '--max-frames 0: give at least 1'),
        (['nowhere', '{config}', '{checkpoint}'], 'no image at nowhere'),
        (['{tmp}/empty', '{config}', '{checkpoint}'], 'no image at'),
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
def test_errors_are_one_line(arguments, culprit, demo, images, config, weights, tmp_path, capsys, monkeypatch):
    pytest.importorskip('mmpretrain')
    monkeypatch.setattr(logging, 'raiseExceptions', False)  # MMEngine's logger writes to an earlier test's stderr
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken' / 'broken.png').write_text('no picture')
    (tmp_path / 'broken' / 'broken.mp4').write_text('no video')
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
