"""What the tests of wrong inputs share: small configs, and what a tool has to end with."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = {
    'det': 'configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py',
    'seg': 'configs/shapes/upernet_hpx-former-tiny_shapes.py',
    'cls': 'configs/shapes/hpx-former-tiny_shapes.py',
}
SCOPES = dict(det='mmdet', seg='mmseg', cls='mmpretrain')
SHORT = ['train_cfg.val_interval=1', 'param_scheduler=None']
ONE_PASS = {'det': 'train_cfg.max_epochs=1', 'cls': 'train_cfg.max_epochs=1', 'seg': 'train_cfg.max_iters=1'}


def on(shapes: Path, task: str) -> list[str]:
    """Return overrides that point a Shapes config to ``shapes``, two images per batch, no worker processes."""
    pytest.importorskip(SCOPES[task])
    root = f'{shapes}/classification' if task == 'cls' else f'{shapes}/'
    options = []
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        options += [f'{loader}.batch_size=2', f'{loader}.num_workers=0', f'{loader}.dataset.data_root={root}']
    if task == 'det':
        options += [f'{split}_evaluator.ann_file={root}annotations/instances_val.json' for split in ('val', 'test')]
    return [*options, *SHORT, ONE_PASS[task]]


def assert_one_line(code: int, error: str, *expected: str) -> None:
    """Check that a tool ended with exit code 2 and one line that holds all of ``expected``."""
    lines = [line for line in error.splitlines() if line.startswith('error: ')]
    assert 'Traceback' not in error
    assert (code, len(lines)) == (2, 1), error
    assert error.rstrip().endswith(lines[0])
    for text in expected:
        assert text in lines[0], lines[0]


def run_train(tools, shapes, task, tmp_path, *options: str) -> int:
    config = str(ROOT / CONFIGS[task])
    return tools['train']([config, '--work-dir', str(tmp_path), '--cfg-options', *on(shapes, task), *options])
