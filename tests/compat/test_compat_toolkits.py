"""mmcv's and mmdet's own layers on whatever ``mmcv._ext`` is installed."""

import numpy as np
import pytest
import torch

from mmhyena.compat.distributions import mmcv_ops_state

pytest.importorskip('mmcv')


def test_mmdet_models_import():
    pytest.importorskip('mmdet')
    from mmdet.models import CascadeRCNN, MaskRCNN, RetinaNet

    assert {CascadeRCNN.__name__, MaskRCNN.__name__, RetinaNet.__name__} == {'CascadeRCNN', 'MaskRCNN', 'RetinaNet'}


def test_batched_nms_keeps_classes_apart():
    from mmcv.ops import batched_nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]])
    scores, classes = torch.tensor([0.6, 0.9, 0.7, 0.5]), torch.tensor([0, 0, 1, 1])
    dets, keep = batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.5))
    assert keep.tolist() == [1, 2, 3]
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[keep])
    _, keep = batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.5, class_agnostic=True))
    assert keep.tolist() == [1, 3]
    _, split = batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.5, split_thr=2))
    assert split.tolist() == [1, 2, 3]
    dets, keep = batched_nms(boxes, scores, classes, dict(type='soft_nms', iou_threshold=0.5, min_score=0.05))
    assert keep.tolist() == [1, 2, 3, 0]
    assert dets[-1, 4].item() == pytest.approx(0.6 * 0.1)
    dets, keep = batched_nms(boxes[:0], scores[:0], classes[:0], dict(type='nms', iou_threshold=0.5), True)
    assert dets.shape == (0, 5)
    assert keep.shape == (0,)


def test_roi_align_layer_trains():
    from mmcv.ops import RoIAlign

    features = torch.randn(2, 3, 12, 10, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 2, 30, 40], [1, -8, 4, 16, 12]], dtype=torch.float64)
    for ratio in (0, 2):
        layer = RoIAlign((3, 2), spatial_scale=0.25, sampling_ratio=ratio)
        assert torch.autograd.gradcheck(lambda x, layer=layer: layer(x, rois), features)
        ours = layer(features, rois)
        theirs = RoIAlign((3, 2), 0.25, ratio, use_torchvision=True)(features, rois)
        torch.testing.assert_close(ours, theirs)


def test_mmdet_extracts_rois_and_crops_masks():
    pytest.importorskip('mmdet')
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
    from mmdet.structures.mask import BitmapMasks

    extractor = SingleRoIExtractor(dict(type='RoIAlign', output_size=7, sampling_ratio=0), 4, [4, 8])
    maps = [torch.randn(1, 4, 32, 32, requires_grad=True), torch.randn(1, 4, 16, 16, requires_grad=True)]
    rois = torch.tensor([[0.0, 0, 0, 20, 20], [0, 4, 4, 120, 124]])
    pooled = extractor(maps, rois)
    assert pooled.shape == (2, 4, 7, 7)
    pooled.sum().backward()
    assert all(m.grad.abs().sum() > 0 for m in maps)

    square = np.zeros((1, 32, 32), dtype=np.uint8)
    square[:, 8:24, 8:24] = 1
    cropped = BitmapMasks(square, 32, 32).crop_and_resize(
        np.array([[8, 8, 24, 24], [0, 0, 32, 32]], dtype=np.float32), (8, 8), np.array([0, 0])
    )
    assert cropped.masks[0].all()
    assert cropped.masks[1].sum() == 16


def test_mmcv_focal_loss_is_mmdets_plain_one():
    pytest.importorskip('mmdet')
    if mmcv_ops_state() == 'compiled':
        pytest.skip('compiled mmcv has no sigmoid focal loss on the CPU')
    from mmcv.ops import sigmoid_focal_loss
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

    logits = torch.randn(6, 3, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 3, 0])
    loss = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'sum')
    one_hot = torch.nn.functional.one_hot(target, 4)[:, :3]
    plain = py_sigmoid_focal_loss(logits, one_hot, reduction='sum')
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (loss, plain)))
