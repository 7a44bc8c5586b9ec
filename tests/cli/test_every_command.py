"""Every command once, from a configuration to pictures and exported files, in a folder that is no clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmhyena
from mmhyena.__main__ import COMMANDS
from mmhyena.datasets.shapes import generate_shapes

ROOT = Path(mmhyena.__file__).resolve().parents[1]

ALONE = ('num_workers=0', 'persistent_workers=False')
LOADERS = ' '.join(f'{split}_dataloader.{key}' for split in ('train', 'val') for key in ALONE)
SMALL = f'{LOADERS} train_dataloader.batch_size=4 train_cfg.max_epochs=1 train_cfg.val_interval=1 param_scheduler=None'

# Command, and a file that it writes or what it prints.
CALLS = [
    ('list architectures', 'hpx_former_tiny'),
    ('list configs tiny_shapes', 'hpx-former-tiny_shapes'),
    ('template classification pets.py data_root=data/shapes/classification/', 'pets.py'),
    ('check mine.py', 'no problems found'),
    ('browse mine.py --num 2', 'outputs/browse/sheet.png'),
    ('flops mine.py --shape 64 64', '0.04G MACs per forward pass'),
    (f'train mine.py --cfg-options {SMALL}', 'work_dirs/mine/epoch_1.pth'),
    ('test mine.py work_dirs/mine/epoch_1.pth --out metrics.json', 'metrics.json'),
    (
        'demo data/shapes/classification/val mine.py work_dirs/mine/epoch_1.pth',
        'outputs/star/star_000000.png',
    ),
    ('convert work_dirs/mine/epoch_1.pth official.pth --reverse', 'official.pth'),
    ('convert official.pth ours.safetensors --arch hpx_former_tiny', 'ours.safetensors'),
    ('export mine.py work_dirs/mine/epoch_1.pth --out model.pt2 --shape 64 64', 'model.pt2'),
    ('tool mmpretrain', 'analysis_tools/analyze_logs'),
]


def test_no_command_is_left_out():
    # The page in a browser has a test of its own: test_web.py.
    assert {call.split()[0] for call, _ in CALLS} == set(COMMANDS) - {'web'}


@pytest.mark.slow
def test_every_command_runs(tmp_path: Path):
    pytest.importorskip('mmpretrain')
    generate_shapes(tmp_path / 'data/shapes', train=1, val=1, size=64, cls_train=10, cls_val=5, cls_size=48, seed=0)
    (tmp_path / 'mine.py').write_text("_base_ = ['mmhyena::shapes/hpx-former-tiny_shapes.py']\n")
    for call, expected in CALLS:
        result = subprocess.run(
            [sys.executable, '-m', 'mmhyena', *call.split()],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f'mmhyena {call}\n{result.stdout[-1000:]}{result.stderr[-2000:]}'
        assert 'Traceback' not in result.stderr
        assert expected in result.stdout or (tmp_path / expected).is_file(), f'mmhyena {call}\n{result.stdout}'
    assert 'accuracy/top1' in json.loads((tmp_path / 'metrics.json').read_text())
