"""Random mistakes in COCO files and options: a check ends in a report or in one line, never in another exception."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhyena.apis.checks.coco import check_coco
from mmhyena.apis.checks.report import SplitReport
from mmhyena.apis.checks.values import check_parts, check_values
from mmhyena.errors import UserError
from mmhyena.utils.overrides import parse_overrides

CLASSES = ('circle', 'ring', 'square')
GOOD: dict[str, Any] = dict(
    images=[dict(id=i, file_name=f'{i}.jpg', width=64, height=48) for i in range(2)],
    annotations=[
        dict(id=i, image_id=i % 2, category_id=1 + i % 3, bbox=[4, 4, 20, 20], area=400, iscrowd=0)
        | dict(segmentation=[[4, 4, 24, 4, 24, 24]])
        for i in range(6)
    ],
    categories=[dict(id=1 + i, name=name) for i, name in enumerate(CLASSES)],
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A COCO file with one to three values exchanged, removed, repeated or listed backwards."""
    data = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        node: Any = data
        for _ in range(draw(st.integers(0, 3))):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            inner = [key for key in keys if isinstance(node[key], (dict, list)) and node[key]]
            if not inner:
                break
            node = node[draw(st.sampled_from(inner))]
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            continue
        key = draw(st.sampled_from(keys))
        action = draw(st.sampled_from(['replace', 'remove', 'repeat', 'reverse']))
        if action == 'replace':
            node[key] = draw(VALUES)
        elif action == 'remove':
            del node[key]
        elif isinstance(node, list) and action == 'reverse':
            node.reverse()
        elif isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
    return data


def check(data: Any, folder: Path) -> SplitReport:
    file = folder / 'annotations.json'
    file.write_text(json.dumps(data))
    for i in range(2):
        (folder / f'{i}.jpg').touch()
    report = SplitReport('train', 'train_dataloader.dataset', 'CocoDataset', str(file), CLASSES)
    check_coco(report, str(file), str(folder), masks=True, crowd=True, num_images=0, upright=True)
    return report


def assert_report(data: Any, folder: Path) -> None:
    report = check(data, folder)
    for problem in report.problems:
        assert '\n' not in problem
        assert str(folder / 'annotations.json') in problem or 'images are not there' in problem
    if not report.problems:
        kept = report.counts.total() + report.dropped.total()
        assert kept == len(data['annotations'])
        names = tuple(category['name'] for category in data['categories'] if category['name'] in CLASSES)
        assert (report.order_error is None) == (names == CLASSES)


def test_a_good_file_has_no_problems(tmp_path):
    report = check(GOOD, tmp_path)
    assert not report.problems
    assert report.counts == dict(circle=2, ring=2, square=2)


@settings(max_examples=60)
@given(damaged())
def test_damaged_files(tmp_path_factory, data):
    assert_report(data, tmp_path_factory.mktemp('coco'))


@pytest.mark.slow
@settings(max_examples=1000)
@given(damaged())
def test_many_damaged_files(tmp_path_factory, data):
    assert_report(data, tmp_path_factory.mktemp('coco'))


KEYS = st.sampled_from(
    ['model', 'model.backbone', 'model.backbone.in_channels', 'train_cfg', 'train_cfg.max_epochs', 'optim_wrapper']
    + ['optim_wrapper.optimizer', 'optim_wrapper.optimizer.lr', 'train_dataloader', 'train_dataloader.batch_size']
    + ['val_evaluator', 'custom_hooks', 'default_hooks', 'param_scheduler', 'visualizer', 'env_cfg']
)
TEXTS = st.text(alphabet='ab01.,-+e"\'[]{}(): =\\\n', max_size=12) | VALUES.map(repr)


def assert_options(words: list[str]) -> None:
    from mmengine.config import Config

    cfg = Config(
        dict(
            model=dict(type='ImageClassifier', backbone=dict(type='mmhyena.HyenaFormer', in_channels=3)),
            train_cfg=dict(max_epochs=3, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            train_dataloader=dict(batch_size=2, dataset=dict(type='CustomDataset')),
        )
    )
    try:
        for key, value in parse_overrides(words).items():
            try:
                cfg.merge_from_dict({key: value})
            except (KeyError, TypeError, AssertionError, AttributeError):  # load_config makes one line of any of them
                return
        check_parts(cfg, ('train', 'val'))
        check_values(cfg)
    except UserError:
        return


@settings(max_examples=60)
@given(st.lists(st.builds('{}={}'.format, KEYS, TEXTS), min_size=1, max_size=3))
def test_options(words):
    assert_options(words)


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.lists(st.builds('{}={}'.format, KEYS, TEXTS), min_size=1, max_size=3))
def test_many_options(words):
    assert_options(words)
