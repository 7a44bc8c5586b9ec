"""Mask R-CNN with a tiny HyenaPixel backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: it is the example that the quick start trains.
Expected: bbox mAP 0.58 to 0.60, segm mAP 0.51 to 0.54 on the 150 held-out images (two runs, measured here: 1200
images of 160 x 160, seed 0, two gloo processes of 4 images, 9 minutes of training on two CPU cores).
Command: python tools/train.py configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py
"""

_base_ = [
    '../_base_/models/mask-rcnn_fpn.py',
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/shapes_7e.py',
    '../_base_/det_runtime.py',
]
fpn_channels = 64
num_classes = len(_base_.classes)
roi_strides = [4, 8, 16]
norm_cfg = dict(type='BN', requires_grad=True)
roi_extractor = dict(
    roi_layer=dict(sampling_ratio=1), out_channels=fpn_channels, featmap_strides=roi_strides, finest_scale=28
)
model = dict(
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', drop_path_rate=0.0),
    neck=dict(in_channels=[32, 64, 128, 192], out_channels=fpn_channels, num_outs=4, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=fpn_channels,
        feat_channels=fpn_channels,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=fpn_channels, fc_out_channels=256, num_classes=num_classes, reg_class_agnostic=True),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(
            num_convs=2,
            in_channels=fpn_channels,
            conv_out_channels=fpn_channels,
            num_classes=num_classes,
            class_agnostic=True,
            norm_cfg=norm_cfg,
            loss_mask=dict(loss_weight=2.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=300, max_per_img=200),
        rcnn=dict(sampler=dict(num=48, pos_fraction=0.33)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=200)),
)
