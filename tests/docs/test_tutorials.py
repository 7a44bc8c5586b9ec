"""The tutorials, every command as it is written, on small data sets in the layout that they ask for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmhyena.datasets.shapes import generate_shapes

ROOT = Path(__file__).resolve().parents[2]
TOOLKITS = dict(classification='mmpretrain', detection='mmdet', segmentation='mmseg')
NAMES = dict(classification='pets', detection='parts', segmentation='fields')
METRICS = dict(classification='accuracy/top1', detection='coco/segm_mAP', segmentation='mIoU')


@pytest.fixture(scope='module')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('shapes') / 'shapes'
    generate_shapes(root, train=6, val=3, size=96, cls_train=20, cls_val=10, cls_size=48, seed=1)
    return root


def arrange_classification(shapes: Path, target: Path) -> None:
    for split in ('train', 'val'):
        for name, shape in (('cat', 'circle'), ('dog', 'star')):
            shutil.copytree(shapes / 'classification' / split / shape, target / split / name)


def arrange_detection(shapes: Path, target: Path) -> None:
    (target / 'annotations').mkdir(parents=True)
    for split in ('train', 'val'):
        shutil.copytree(shapes / split, target / split)
        shutil.copy(shapes / f'annotations/instances_{split}.json', target / f'annotations/{split}.json')


def arrange_segmentation(shapes: Path, target: Path) -> None:
    for split, source in (('train', 'training'), ('val', 'validation')):
        shutil.copytree(shapes / 'images' / source, target / 'images' / split)
        (target / 'labels' / split).mkdir(parents=True)
        for path in (shapes / 'annotations' / source).glob('*.png'):
            labels = np.asarray(Image.open(path)) - np.uint8(1)  # 0, no class, becomes 255
            Image.fromarray(labels).save(target / 'labels' / split / path.name)
    (target / 'classes.txt').write_text('soil\nwheat\nmaize\nbarley\noats\nrye\n')


@pytest.mark.parametrize(
    'task',
    ['classification', *(pytest.param(task, marks=pytest.mark.slow) for task in ('detection', 'segmentation'))],
)
def test_tutorial_runs_as_written(task: str, shapes: Path, tmp_path: Path):
    pytest.importorskip(TOOLKITS[task])
    name = NAMES[task]
    globals()[f'arrange_{task}'](shapes, tmp_path / 'data' / name)
    command = tmp_path / 'bin/mmhyena'
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mmhyena "$@"\n')
    command.chmod(0o755)
    blocks = re.findall(r'```bash\n(.*?)```', (ROOT / f'docs/tutorials/{task}.md').read_text(), re.DOTALL)
    script = 'set -eu\n' + ''.join(blocks)
    assert all(f'mmhyena {step} ' in script for step in ('template', 'check', 'browse', 'train', 'test', 'demo'))
    env = {**os.environ, 'PATH': f'{command.parent}{os.pathsep}{os.environ["PATH"]}', 'PYTHONPATH': str(ROOT)}
    result = subprocess.run(['bash', '-c', script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / 'outputs/browse/sheet.png').is_file()
    assert METRICS[task] in json.loads((tmp_path / f'outputs/{name}.json').read_text())
    pictures = list((tmp_path / f'outputs/{name}').glob('*.png'))
    assert pictures
    assert all(picture.with_suffix('.json').is_file() for picture in pictures)
