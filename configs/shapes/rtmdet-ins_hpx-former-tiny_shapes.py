"""A small RTMDet-Ins with a tiny HyenaPixel backbone on Shapes.

Reproduces nothing published: an example for people without the large data sets; trained from scratch.
Expected: not measured. Hardware: CPU.
Command: python tools/train.py configs/shapes/rtmdet-ins_hpx-former-tiny_shapes.py
"""

_base_ = [
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/shapes_7e.py',
    '../_base_/det_runtime.py',
]
channels = 64
norm_cfg = dict(type='BN')
act_cfg = dict(type='SiLU', inplace=True)
model = dict(
    type='RTMDet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', out_indices=(1, 2, 3), drop_path_rate=0.0),
    neck=dict(
        type='CSPNeXtPAFPN',
        in_channels=[64, 128, 192],
        out_channels=channels,
        num_csp_blocks=1,
        expand_ratio=0.5,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    bbox_head=dict(
        type='RTMDetInsSepBNHead',
        num_classes=len(_base_.classes),
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        share_conv=True,
        pred_kernel_size=1,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_mask=dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean'),
    ),
    train_cfg=dict(
        assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1, debug=False
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
        mask_thr_binary=0.5,
    ),
)
