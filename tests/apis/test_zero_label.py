"""What label 0 means: one variable that reaches all data sets and pipelines, and the mIoU that follows from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmhyena.apis import evaluate, load_config
from mmhyena.apis.checks.data import inspect_data
from mmhyena.apis.toolkits import use_toolkit
from mmhyena.datasets.shapes import generate_shapes
from mmhyena.errors import UserError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/shapes/upernet_hpx-former-tiny_shapes.py'
SPLITS = ('train', 'val', 'test')


def values(cfg) -> list[bool]:
    return [cfg[f'{split}_dataloader'].dataset.reduce_zero_label for split in SPLITS]


def derived(folder: Path, name: str, base: Path, text: str) -> Path:
    file = folder / name
    file.write_text(f'_base_ = {str(base)!r}\n{text}\n')
    return file


def test_an_override_reaches_all_data_sets():
    assert values(load_config(CONFIG)) == [True] * 3
    assert values(load_config(CONFIG, {'reduce_zero_label': False})) == [False] * 3


def test_the_variable_of_a_derived_config_reaches_all_data_sets(tmp_path):
    once = derived(tmp_path, 'once.py', CONFIG, 'reduce_zero_label = False')
    twice = derived(tmp_path, 'twice.py', once, "load_from = 'x'  # reduce_zero_label = True")
    back = derived(tmp_path, 'back.py', twice, 'reduce_zero_label = True')
    assert [values(load_config(file)) for file in (once, twice, back)] == [[False] * 3, [False] * 3, [True] * 3]


def test_pipelines_and_data_sets_without_the_variable_are_reached(tmp_path):
    text = (
        "default_scope = 'mmseg'\n"
        "steps = [dict(type='LoadAnnotations', reduce_zero_label=True)]\n"
        "train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2,\n"
        "    dataset=dict(type='ADE20KDataset', data_root='x', pipeline=steps)))\n"
        'tta_pipeline = [dict(transforms=[steps])]\n'
    )
    (tmp_path / 'own.py').write_text(text)
    cfg = load_config(tmp_path / 'own.py', {'reduce_zero_label': False})
    assert cfg.train_dataloader.dataset.dataset.reduce_zero_label is False
    assert cfg.train_dataloader.dataset.dataset.pipeline[0].reduce_zero_label is False
    assert cfg.tta_pipeline[0].transforms[0][0].reduce_zero_label is False
    untouched = load_config(tmp_path / 'own.py')
    assert 'reduce_zero_label' not in untouched.train_dataloader.dataset.dataset
    assert untouched.tta_pipeline[0].transforms[0][0].reduce_zero_label is True


@pytest.mark.parametrize('split', SPLITS)
def test_one_data_set_alone_is_an_error(split, tmp_path):
    key = f'{split}_dataloader.dataset.reduce_zero_label'
    with pytest.raises(UserError, match='set --cfg-options reduce_zero_label=False, which reaches all'):
        load_config(CONFIG, {key: False})
    file = derived(tmp_path, 'one.py', CONFIG, f'{split}_dataloader = dict(dataset=dict(reduce_zero_label=False))')
    with pytest.raises(UserError, match=rf'{key} is False, but the variable reduce_zero_label is True'):
        load_config(file)
    assert values(load_config(file, {'reduce_zero_label': False})) == [False] * 3


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Shapes with labels from 1, in ``one``, and the same with labels from 0, in ``zero``."""
    pytest.importorskip('mmseg')
    root = tmp_path_factory.mktemp('labels')
    generate_shapes(root / 'one', train=2, val=3, size=64, cls_train=1, cls_val=1, seed=0)
    shutil.copytree(root / 'one', root / 'zero')
    for file in (root / 'zero/annotations').rglob('*.png'):
        with Image.open(file) as image:
            labels = np.asarray(image) - 1
        Image.fromarray(labels).save(file)
    return root


def options(root: Path, **changes) -> dict:
    keys = ('batch_size', 'num_workers', 'dataset.data_root')
    places = {f'{split}_dataloader.{key}': value for split in SPLITS for key, value in zip(keys, (1, 0, f'{root}/'))}
    return places | changes


def test_own_labels_from_0_give_the_same_miou(data, weights, tmp_path):
    found = []
    for name, changes in (('one', {}), ('zero', dict(reduce_zero_label=False))):
        metrics = evaluate(
            CONFIG, weights('segmentation'), work_dir=str(tmp_path / name), cfg_options=options(data / name, **changes)
        )
        found.append({key: value for key, value in metrics.items() if 'Iou' in key or 'Acc' in key or 'IoU' in key})
    assert found[0] and found[0] == found[1]
    assert found[0]['mIoU'] > 0, json.dumps(found)


@pytest.mark.parametrize(('name', 'setting'), [('zero', True), ('one', False)])
def test_a_wrong_setting_is_named(name, setting, data):
    cfg = load_config(CONFIG, options(data / name, reduce_zero_label=setting))
    use_toolkit(cfg)
    for report in inspect_data(cfg, ('train', 'val')):
        lines = [*report.problems, *report.notes]
        assert any(f'set --cfg-options reduce_zero_label={not setting}' in line for line in lines), lines


@pytest.mark.parametrize(('name', 'setting'), [('zero', False), ('one', True)])
def test_a_right_setting_is_not(name, setting, data):
    cfg = load_config(CONFIG, options(data / name, reduce_zero_label=setting))
    use_toolkit(cfg)
    for report in inspect_data(cfg, ('train', 'val')):
        assert not any('reduce_zero_label' in line for line in [*report.problems, *report.notes])
