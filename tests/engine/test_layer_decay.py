"""Groups of the layer-decay constructor against the published grouping, listed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import convert_official
from mmhyena.registry import OPTIM_WRAPPER_CONSTRUCTORS

KEYS = json.loads((Path(__file__).parents[1] / 'data/golden/hyenapixel_keys.json').read_text())
LR, DECAY = 2e-4, 0.05

# What lies in each layer of hpx_former_s18, from the stem to the output norms, by the official names.
LAYERS = [
    ['downsample_layers.0.'],
    ['stages.0.'],
    ['downsample_layers.1.', 'stages.1.'],
    ['downsample_layers.2.', 'stages.2.0.', 'stages.2.1.', 'stages.2.2.'],
    ['stages.2.3.', 'stages.2.4.', 'stages.2.5.'],
    ['stages.2.6.', 'stages.2.7.', 'stages.2.8.'],
    ['downsample_layers.3.', 'stages.3.'],
    ['fnorm.'],
]
# And in each stage, with the power of the rate for 12 "layers".
STAGES = {13: ['downsample_layers.'], 12: ['stages.0.'], 11: ['stages.1.'], 10: ['stages.2.'], 9: ['stages.3.']}
STAGES[0] = ['fnorm.']
FROZEN = ('distance_map', 'pos_emb.t', 'modulation.deltas')


class Model(nn.Module):
    """What classifiers, detectors and segmentors have in common."""

    def __init__(self, arch: str = 'hpx_former_tiny', **settings: object) -> None:
        super().__init__()
        with torch.device('meta'):
            self.backbone = HyenaFormer(arch, **settings)
            self.neck = nn.Conv2d(8, 8, 1)
            self.head = nn.Linear(8, 8)


def groups_of(model: nn.Module, weight_decay: float | None = DECAY, **paramwise: object) -> list[dict]:
    optimizer = dict(type='AdamW', lr=LR) | ({} if weight_decay is None else dict(weight_decay=weight_decay))
    config = dict(
        type='mmhyena.LayerDecayOptimWrapperConstructor',
        optim_wrapper_cfg=dict(type='OptimWrapper', optimizer=optimizer),
        paramwise_cfg=paramwise,
    )
    return OPTIM_WRAPPER_CONSTRUCTORS.build(config)(model).optimizer.param_groups


def settings_of(groups: list[dict]) -> dict[str, tuple[float, float]]:
    """Return rate and weight decay of every parameter."""
    return {name: (group['lr'], group['weight_decay']) for group in groups for name in group['param_names']}


def published(arch: str, powers: dict[int, list[str]], rate: float) -> dict[str, tuple[float, float]]:
    """Return rate and weight decay of every parameter under our names, by the official names and shapes.

    Officially biases and one-dimensional parameters have no weight decay.
    """
    shapes = {k: v for k, v in KEYS[f'{arch}/features'].items() if not k.endswith(FROZEN)}
    numbered = {name: torch.full(tuple(shape), float(i)) for i, (name, shape) in enumerate(shapes.items())}
    official_name = {ours: list(shapes)[int(value.flatten()[0])] for ours, value in convert_official(numbered).items()}
    result = {}
    for ours, name in official_name.items():
        (power,) = [power for power, prefixes in powers.items() if name.startswith(tuple(prefixes))]
        decays = len(shapes[name]) > 1 and not name.endswith('.bias')
        result[ours] = (pytest.approx(LR * rate**power), DECAY if decays else 0)
    return result


@pytest.mark.parametrize('arch', ['hpx_former_s18', 'hb_former_s18', 'c_hpx_former_s18', 'hpx_a_former_s18'])
def test_layer_wise_groups_are_the_published_ones(arch: str):
    powers = {7 - layer: prefixes for layer, prefixes in enumerate(LAYERS)}
    expected = published(arch, powers, 0.7)
    got = settings_of(groups_of(Model(arch), decay_rate=0.7, num_layers=6, official_decay=True))
    heads = {name: got.pop(name) for name in list(got) if not name.startswith('backbone.')}
    assert got == expected
    assert heads == {
        f'{part}.{kind}': (LR, d) for part in ('neck', 'head') for kind, d in (('weight', DECAY), ('bias', 0))
    }
    assert settings_of(groups_of(Model(arch), decay_rate=0.7, official_decay=True)) == got | heads


def test_stage_wise_groups_are_the_published_ones():
    expected = published('hpx_former_s18', STAGES, 0.9)
    options = dict(decay_type='stage_wise', decay_rate=0.9, num_layers=12, official_decay=True)
    got = settings_of(groups_of(Model('hpx_former_s18'), **options))
    assert {name: value for name, value in got.items() if name.startswith('backbone.')} == expected
    assert got['head.weight'] == (LR, DECAY)


@pytest.mark.parametrize(
    ('function', 'decay_type', 'num_layers', 'argument'),
    [('get_layer_id_for_convnext', 'layer_wise', 6, 6), ('get_stage_id_for_convnext', 'stage_wise', 12, 14)],
)
def test_same_layers_as_mmseg_gives_convnext(function: str, decay_type: str, num_layers: int, argument: int):
    """The official recipes took mmseg's constructor, which names the layers of ConvNeXt."""
    constructor = pytest.importorskip('mmseg.engine.optimizers.layer_decay_optimizer_constructor')
    options = dict(decay_type=decay_type, decay_rate=0.8, num_layers=num_layers)
    for group in groups_of(Model('hpx_former_s18'), **options):
        for name in group['param_names']:
            layer = getattr(constructor, function)(name, argument)
            assert group['lr'] == pytest.approx(LR * 0.8 ** (num_layers + 2 - layer - 1)), name


def test_filter_tensors_have_no_weight_decay():
    spared = {
        name.split('long_conv.')[1]
        for name, (_, decay) in settings_of(groups_of(Model('hpx_former_s18'), decay_rate=0.7)).items()
        if 'long_conv.' in name and decay == 0
    }
    mlp = 'filter.mlp'
    assert spared == {
        'skip',
        'filter.position.table',
        'window.delta',
        'window.shift',
        f'{mlp}.0.bias',
        f'{mlp}.1.frequency',
        f'{mlp}.2.bias',
        f'{mlp}.3.frequency',
    }


def test_default_and_official_decay_differ_in_filters_alone():
    ours = settings_of(groups_of(Model('hpx_former_s18'), decay_rate=0.7))
    official = settings_of(groups_of(Model('hpx_former_s18'), decay_rate=0.7, official_decay=True))
    changed = {name.split('long_conv.')[-1] for name in ours if ours[name] != official[name]}
    assert changed == {
        'filter.position.table', 'filter.mlp.1.frequency', 'filter.mlp.3.frequency', 'window.delta', 'window.shift'
    }  # fmt: skip


@pytest.mark.parametrize(('arch', 'layers'), [('hpx_former_tiny', 5), ('hpx_former_s18', 6), ('hpx_former_b36', 9)])
def test_depth_of_other_models(arch: str, layers: int):
    groups = groups_of(Model(arch), decay_rate=0.5)
    assert {group['lr_scale'] for group in groups} == {0.5**power for power in range(layers + 2)}


def test_more_layers_lengthen_the_way_to_the_last_stage():
    rates = settings_of(groups_of(Model('hpx_former_b36'), decay_rate=0.5, num_layers=12))
    assert rates['backbone.stages.3.0.norm1.weight'][0] == LR * 0.5
    assert rates['backbone.stages.2.17.norm1.weight'][0] == LR * 0.5**5
    assert rates['backbone.downsample_layers.0.conv.weight'][0] == LR * 0.5**13


def test_every_trainable_parameter_is_in_one_group():
    model = Model(frozen_stages=1)
    names = [name for group in groups_of(model, decay_rate=0.7) for name in group['param_names']]
    assert len(names) == len(set(names))
    assert set(names) == {name for name, param in model.named_parameters() if param.requires_grad}
    assert not any(name.startswith(('backbone.stages.0', 'backbone.downsample_layers.0')) for name in names)


def test_wrapped_model():
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    assert settings_of(groups_of(Wrapper(Model()), decay_rate=0.7)) == settings_of(groups_of(Model(), decay_rate=0.7))


def test_backbone_alone():
    inside = settings_of(groups_of(Model(), decay_rate=0.7))
    alone = settings_of(groups_of(Model().backbone, decay_rate=0.7))
    assert {f'backbone.{name}': value for name, value in alone.items()} == {
        name: value for name, value in inside.items() if name.startswith('backbone.')
    }


def test_rates_reach_the_optimizer_and_its_schedule():
    from mmengine.optim import ConstantLR, OptimWrapper

    model = nn.Module()
    model.backbone = HyenaFormer('hpx_former_tiny')
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='mmhyena.LayerDecayOptimWrapperConstructor',
            optim_wrapper_cfg=dict(optimizer=dict(type='SGD', lr=1.0)),
            paramwise_cfg=dict(decay_rate=0.5),
        )
    )(model)
    assert isinstance(wrapper, OptimWrapper)
    ConstantLR(wrapper, factor=0.1)
    lowest = min(group['lr'] for group in wrapper.param_groups)
    assert lowest == pytest.approx(0.1 * 0.5**6)
    assert all('weight_decay' in group for group in wrapper.param_groups)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(), 'needs a decay_rate'),
        (dict(decay_rate=1.5), 'needs a decay_rate in'),
        (dict(decay_rate=0.7, decay_type='block_wise'), "got 'block_wise'"),
        (dict(decay_rate=0.7, layer_decay=1), 'unknown keys layer_decay'),
        (dict(decay_rate=0.7, num_layers=3), 'has 5 layers: drop num_layers'),
    ],
)
def test_wrong_options(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        groups_of(Model(), **options)


def test_backbone_without_depths():
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    with pytest.raises(ValueError, match='Linear has no get_layer_depth'):
        groups_of(model, decay_rate=0.7)


CLASSIFIER = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', out_indices=(3,), gap_before_final_norm=True),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=192),
)
SEGMENTOR = dict(
    type='mmseg.EncoderDecoder',
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny'),
    decode_head=dict(type='mmseg.FCNHead', in_channels=192, in_index=3, channels=8, num_classes=3),
    test_cfg=dict(mode='whole'),
)
DETECTOR = dict(
    type='mmdet.RetinaNet',
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny'),
    neck=dict(type='mmdet.FPN', in_channels=[32, 64, 128, 192], out_channels=32, num_outs=5),
    bbox_head=dict(type='mmdet.RetinaHead', num_classes=3, in_channels=32, stacked_convs=1, feat_channels=32),
    train_cfg=dict(assigner=dict(type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)),
)


@pytest.mark.parametrize('config', [CLASSIFIER, SEGMENTOR, DETECTOR], ids=lambda config: config['type'])
def test_models_of_the_toolkits(config: dict):
    import importlib

    scope = config['type'].split('.')[0]
    pytest.importorskip(scope)
    importlib.import_module(f'{scope}.models')
    registry = importlib.import_module(f'{scope}.registry').MODELS
    rates = {name: lr for name, (lr, _) in settings_of(groups_of(registry.build(config), decay_rate=0.7)).items()}
    assert rates['backbone.downsample_layers.0.conv.weight'] == pytest.approx(LR * 0.7**6)
    assert rates['backbone.norm3.weight'] == LR
    others = {lr for name, lr in rates.items() if not name.startswith('backbone.')}
    assert others == {LR}
