"""Numbers of classes of the heads of every kind of model against those of the data."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from mmengine.config import Config

from mmhyena.apis import load_config, use_toolkit
from mmhyena.apis.checks.heads import heads_error
from mmhyena.apis.checks.nodes import children, walk

CONFIGS = Path(__file__).parents[3] / 'configs/shapes'
CLASSES = ('circle', 'ring', 'square', 'star', 'triangle')
ARGUMENTS = ('num_classes', 'num_things_classes', 'num_stuff_classes')
SCOPES = dict(mmdet='detection', mmseg='segmentation', mmpretrain='classification')


def read(name: str) -> tuple[Config, tuple[str, ...], dict]:
    """Return a Shapes config, its classes and the meta information of its data."""
    cfg = load_config(CONFIGS / f'{name}.py')
    if importlib.util.find_spec(cfg.default_scope) is None:
        pytest.skip(f'{cfg.default_scope} is not installed')
    use_toolkit(cfg)
    meta = dict(cfg.train_dataloader.dataset.get('metainfo') or {})
    return cfg, tuple(meta.get('classes') or CLASSES), meta


def counted(cfg: Config) -> list[str]:
    """Return the keys of all numbers of classes that a config sets in its heads."""
    found = []
    for key, node in walk(cfg.model, 'model'):
        if '.' in key and any(word in key for word in ('head', 'panoptic')) and not key.startswith('model.rpn_head'):
            found += [f'{key}.{name}' for name, value in children(node) if name in ARGUMENTS and isinstance(value, int)]
    return [key for key in found if 'loss' not in key and 'test_cfg' not in key]


@pytest.mark.parametrize('name', sorted(path.stem for path in CONFIGS.glob('*.py')))
@pytest.mark.parametrize('change', [-1, 1])
def test_every_head_is_compared(name, change):
    cfg, classes, meta = read(name)
    assert heads_error(cfg, classes, len(classes), meta, 'the train set') is None
    keys = counted(cfg)
    assert keys
    for key in keys:
        node = cfg
        *parents, last = key.split('.')
        for part in parents:
            node = node[int(part) if part.isdigit() else part]
        right = node[last]
        if right + change < 0:
            continue
        node[last] = right + change
        error = heads_error(cfg, classes, len(classes), meta, 'the train set')
        node[last] = right
        assert error is not None and error.startswith(f'{key} is {right + change}'), key
        assert error.endswith(f'set {key}={right}')


@pytest.mark.parametrize('stage', [0, 1, 2])
@pytest.mark.parametrize('head', ['bbox_head', 'mask_head'])
def test_cascade_heads_in_lists(stage, head):
    pytest.importorskip('mmdet')
    heads = [dict(type='mmdet.Shared2FCBBoxHead', num_classes=5) for _ in range(3)]
    masks = [dict(type='mmdet.FCNMaskHead', num_classes=5) for _ in range(3)]
    model = dict(type='CascadeRCNN', roi_head=dict(type='CascadeRoIHead', bbox_head=heads, mask_head=masks))
    assert heads_error(dict(model=model), CLASSES, 5, {}, 'the data') is None
    model['roi_head'][head][stage]['num_classes'] = 80
    key = f'model.roi_head.{head}.{stage}.num_classes'
    assert heads_error(dict(model=model), CLASSES, 5, {}, 'the data').startswith(f'{key} is 80')


def test_a_head_that_does_not_say_takes_its_default():
    pytest.importorskip('mmdet')
    model = dict(type='FasterRCNN', roi_head=dict(type='mmdet.StandardRoIHead', bbox_head=dict(type='mmdet.BBoxHead')))
    assert heads_error(dict(model=model), CLASSES, 5, {}, 'the data').startswith(
        'model.roi_head.bbox_head.num_classes is 80'
    )


@pytest.mark.parametrize('place', [0, 1])
def test_auxiliary_heads_in_lists(place):
    pytest.importorskip('mmseg')
    heads = [dict(type='mmseg.FCNHead', num_classes=5) for _ in range(2)]
    model = dict(type='EncoderDecoder', decode_head=dict(type='mmseg.UPerHead', num_classes=5), auxiliary_head=heads)
    assert heads_error(dict(model=model), CLASSES, 5, {}, 'the data') is None
    heads[place]['num_classes'] = 19
    key = f'model.auxiliary_head.{place}.num_classes'
    assert heads_error(dict(model=model), CLASSES, 5, {}, 'the data').startswith(f'{key} is 19')
