"""Counts of operations: the published column, and what is executed, against figures worked out by hand."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mmhyena.analysis.counting import build_for_counting, count_executed
from mmhyena.analysis.flops import count_macs
from mmhyena.layers import Attention, LongConv
from mmhyena.layers.filters.filters import FilterLinear
from mmhyena.ops import use_backend

ROOT = Path(__file__).parents[2]


def load(path: str) -> Callable[[list[str]], int]:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


main = load('tools/analysis_tools/get_flops.py')


@pytest.mark.parametrize(
    ('arch', 'side', 'published'),
    [
        ('hpx_former_s18', 224, '4.92G'),
        ('hpx_former_s18', 384, '12.87G'),
        ('hpx_former_s18_k191', 384, '14.56G'),
        ('hb_former_s18', 224, '4.44G'),
        ('c_hpx_former_s18', 224, '4.33G'),
        ('hpx_a_former_s18', 224, '4.70G'),
        ('hb_a_former_s18', 224, '4.43G'),
        ('hpx_former_b36', 224, '25.34G'),
        ('hb_former_b36', 224, '23.81G'),
    ],
)
def test_official_count_to_the_last_digit(arch: str, side: int, published: str, capsys: pytest.CaptureFixture):
    assert main(['--arch', arch, '--shape', str(side), '--count', 'official']) == 0
    assert f'{arch} at {side} x {side}: {published} MACs (official count)' in capsys.readouterr().out


def counted(module: nn.Module, *shape: int) -> dict[str, int]:
    model = nn.Module()
    model.part = module
    count = count_macs(model, lambda model: model.part(torch.zeros(shape)))
    return {kind: macs for kind, macs in count.parts.get('part', {}).items() if macs}


@pytest.mark.parametrize(
    ('module', 'shape', 'expected'),
    [
        (nn.Linear(8, 16), (2, 5, 8), {'linear': 2 * 5 * 8 * 16}),
        (nn.Linear(8, 16, bias=False), (2, 5, 8), {'linear': 2 * 5 * 8 * 16}),
        (nn.Conv2d(8, 16, 3, padding=1), (2, 8, 7, 6), {'convolution': 2 * 7 * 6 * 8 * 16 * 9}),
        (nn.Conv2d(8, 8, 3, stride=2, groups=8), (1, 8, 7, 7), {'convolution': 3 * 3 * 8 * 9}),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (1, 8, 5, 5), {'convolution': 5 * 5 * 8 * 4 * 4}),
        (nn.LayerNorm(8), (2, 5, 8), {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_operators(module: nn.Module, shape: tuple[int, ...], expected: dict[str, int]):
    assert counted(module, *shape) == expected


def test_attention():
    got = counted(Attention(64), 1, 4, 5, 64)
    pixels = 20
    assert sum(got.values()) == pixels * 64 * 64 * 4 + 2 * pixels**2 * 64


@pytest.mark.parametrize('axes', [1, 2])
def test_transforms(axes: int):
    class Round(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spectrum = torch.fft.rfftn(x, dim=tuple(range(-axes, 0)))
            return torch.fft.irfftn(spectrum * spectrum, s=x.shape[-axes:], dim=tuple(range(-axes, 0)))

    got = counted(Round(), 3, 16, 32)
    half = 3 * 16 * 17
    across = 2.5 * half * math.log2(16) if axes == 2 else 0
    assert got == {'fft': 2 * (1.25 * 3 * 16 * 32 * math.log2(32) + across), 'spectrum': 3 * half}


def long_conv(channels: int = 4, taps: int = 7) -> LongConv:
    position = dict(type='SinCosPosition', dim=8)
    filter = dict(type='ImplicitFilter', position=position, width=16, depth=3)
    return LongConv(channels, (taps, taps), filter, dict(type='RadialWindow'))


def test_kernels_are_apart():
    model = nn.Module()
    model.part = long_conv()
    with use_backend('fft'):
        count = count_macs(model, lambda model: model.part(torch.zeros(1, 4, 40, 40)))
    assert count.kernels['linear'] == 49 * (8 * 16 + 16 * 16 + 16 * 4)
    assert count.kernels['fft'] > 0
    assert set(count.parts['part']) == {'fft', 'spectrum'}
    assert count.total == count.parts['part'].total()
    assert model.training, 'the mode is as it was'


def test_cost_of_a_map_does_not_depend_on_cached_kernels():
    model = nn.Module()
    model.part = long_conv()
    image = torch.zeros(1, 4, 40, 40)
    first = count_macs(model, lambda model: model.part(image))
    assert count_macs(model, lambda model: model.part(image)) == first


def test_executed_count_of_a_model():
    target = build_for_counting(arch='hpx_former_tiny', shape=[64, 96])
    count = count_executed(target)
    backbone, head = count.parts['backbone'], count.parts['head']
    assert head == {'linear': 192 * 768 + 768 * 1000}
    pixels = [16 * 24, 8 * 12, 4 * 6, 2 * 3]
    linear = sum(
        pixels[stage] * sum(module.weight.numel() for name, module in blocks.named_modules() if is_linear(name, module))
        for stage, blocks in enumerate(target.model.backbone.stages)
    )
    assert backbone['linear'] == linear
    assert backbone['fft'] > 0 and backbone['convolution'] > 0
    stages = zip((63, 31, 15, 7), target.model.backbone.stages)
    filters = sum(taps**2 * module.weight.numel() for taps, stage in stages for module in filter_layers(stage))
    assert count.kernels['linear'] == filters


def is_linear(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and 'long_conv' not in name


def filter_layers(stage: nn.Module) -> list[FilterLinear]:
    return [module for module in stage.modules() if isinstance(module, FilterLinear)]


def test_output_of_the_default_count(capsys: pytest.CaptureFixture):
    assert main(['--arch', 'hb_former_tiny', '--shape', '64']) == 0
    output = capsys.readouterr().out
    for word in ('backbone', 'head', 'kernels, once', 'fft', 'hb_former_tiny at 64 x 64'):
        assert word in output
    assert re.search(r'[\d.]+G for the long kernels', output)


DETECTOR = """
default_scope = 'mmdet'
model = dict(
    type='RetinaNet',
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny'),
    neck=dict(type='FPN', in_channels=[32, 64, 128, 192], out_channels=32, num_outs=5),
    bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=32, stacked_convs=1, feat_channels=32),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)))
"""
SEGMENTOR = """
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny'),
    decode_head=dict(type='FCNHead', in_channels=192, in_index=3, channels=8, num_classes=3),
    test_cfg=dict(mode='whole'))
"""


@pytest.mark.parametrize(
    ('scope', 'config', 'parts'),
    [('mmdet', DETECTOR, ('neck', 'bbox_head')), ('mmseg', SEGMENTOR, ('decode_head',))],
)
def test_configs(scope: str, config: str, parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture):
    pytest.importorskip(scope)
    (tmp_path / 'config.py').write_text(config)
    assert main([str(tmp_path / 'config.py'), '--shape', '64', '96']) == 0
    output = capsys.readouterr().out
    assert all(part in output for part in ('backbone', *parts))
    assert main([str(tmp_path / 'config.py'), '--count', 'official']) != 0
    assert 'official count is for HyenaFormer classifiers' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--arch', 'resnet50'], "arch 'resnet50' is unknown"),
        (['missing.py'], 'missing.py does not exist'),
        (['--arch', 'hpx_former_tiny', '--shape', '16'], 'is too small'),
        (['--arch', 'hb_former_s18', '--shape', '160', '--count', 'official'], 'needs 3135 pixels, the map has 1600'),
        (['--arch', 'hpx_former_s18', '--count', 'official', '--backend', 'auto'], 'drop it'),
    ],
)
def test_wrong_use(arguments: list[str], message: str, capsys: pytest.CaptureFixture):
    assert main(arguments) != 0
    errors = capsys.readouterr().err
    assert message in errors and errors.count('\n') == 1


@pytest.mark.parametrize('arguments', [[], ['config.py', '--arch', 'hpx_former_s18'], ['--arch', 'a', '--shape', '0']])
def test_wrong_arguments(arguments: list[str]):
    with pytest.raises(SystemExit):
        main(arguments)
