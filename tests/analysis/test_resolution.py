"""Other resolutions: kernels are resampled and come back, pipelines scale, canvases change data and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmhyena.analysis.reach import long_convs
from mmhyena.analysis.resolution import ResolutionHook, filter_resize, has_long_convs, rescale_test, use_canvas
from mmhyena.backbones import HyenaFormer
from mmhyena.errors import UserError
from mmhyena.layers import Attention, HyenaPixel

SHAPES = Path(__file__).parents[2] / 'configs/shapes'
DETECTOR = Config.fromfile(SHAPES / 'mask-rcnn_hpx-former-tiny_fpn_shapes.py')
SEGMENTOR = Config.fromfile(SHAPES / 'upernet_hpx-former-tiny_shapes.py')
CLASSIFIER = Config.fromfile(SHAPES / 'hpx-former-tiny_shapes.py')


@torch.no_grad()
def test_kernels_are_those_of_a_model_that_resizes_and_come_back():
    torch.manual_seed(0)
    conv = HyenaPixel(4, 7, position_dim=8).eval().long_conv
    resizing = HyenaPixel(4, 7, position_dim=8, filter_resize=True).eval().long_conv
    resizing.load_state_dict(conv.state_dict())
    x = 10 * torch.randn(1, 4, 9, 8)
    before = conv(x)
    with filter_resize(conv, True) as count:
        assert count == 1 and conv.kernel((9, 8)).shape == (4, 17, 15)
        torch.testing.assert_close(conv(x), resizing(x))
    assert conv.kernel((9, 8)).shape == (4, 7, 7)
    assert not torch.equal(before, resizing(x))  # untrained kernels are small
    torch.testing.assert_close(conv(x), before)
    assert has_long_convs(conv) and not has_long_convs(Attention(32))


def test_hook_restores_what_was_set_and_names_the_images_of_coco():
    model = HyenaFormer(arch='hpx_former_tiny', filter_resize=True)

    class Data:
        def __len__(self):
            return 2

        def get_data_info(self, index):
            return dict(img_id=10 + index)

    coco, other = SimpleNamespace(img_ids=None, cat_ids=None), SimpleNamespace()
    runner = SimpleNamespace(
        model=model,
        test_dataloader=SimpleNamespace(dataset=Data()),
        test_evaluator=SimpleNamespace(metrics=[coco, other]),
    )
    hook = ResolutionHook(False)
    hook.before_test(runner)
    assert not any(conv.filter_resize for conv in long_convs(model).values())
    hook.after_test(runner)
    assert all(conv.filter_resize for conv in long_convs(model).values())
    assert coco.img_ids == [10, 11] and not vars(other) and hook.images == 2


def test_images_are_scaled_by_size_or_by_factor():
    assert [step.get('scale') for step in rescale_test(SEGMENTOR, 1.5) if step['type'] == 'Resize'] == [(240, 240)]
    assert [step.get('scale_factor') for step in rescale_test(DETECTOR, 1.5) if step['type'] == 'Resize'] == [1.5]
    assert [step.get('scale') for step in rescale_test(CLASSIFIER, 2) if step['type'] == 'Resize'] == [(128, 128)]
    assert SEGMENTOR.test_dataloader.dataset.pipeline[1].scale == (160, 160)
    for steps, message in (([], 'no Resize'), ([dict(type='Resize', scale=9), dict(type='CenterCrop')], 'CenterCrop')):
        cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
        with pytest.raises(UserError, match=message):
            rescale_test(cfg, 2)


def test_canvases_keep_the_size_of_objects():
    found = use_canvas(DETECTOR, 2, 'canvas/2')
    assert found['test_dataloader.dataset.data_root'] == 'canvas/2/'
    assert found['test_evaluator.ann_file'] == 'canvas/2/annotations/instances_val.json'
    assert found['test_dataloader.dataset.pipeline'] == DETECTOR.test_dataloader.dataset.pipeline
    found = use_canvas(SEGMENTOR, 2, 'canvas/2/')
    assert found['test_dataloader.dataset.pipeline'][1]['scale'] == (320, 320)
    assert 'test_evaluator.ann_file' not in found
    elsewhere = Config(json.loads(json.dumps(DETECTOR.to_dict())))
    elsewhere.test_evaluator.ann_file = 'other/instances.json'
    with pytest.raises(UserError, match='not below data_root'):
        use_canvas(elsewhere, 2, 'canvas/2')
