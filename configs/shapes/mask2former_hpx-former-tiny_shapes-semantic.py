"""A small Mask2Former with a tiny HyenaPixel backbone for semantic segmentation of Shapes.

Reproduces nothing published: an example for people without the large data sets; trained from scratch.
Expected: not measured. Hardware: CPU.
Command: python tools/train.py configs/shapes/mask2former_hpx-former-tiny_shapes-semantic.py
"""

_base_ = [
    '../_base_/models/mask2former_tiny-head.py',
    '../_base_/datasets/shapes_segmentation.py',
    '../_base_/schedules/shapes_1k.py',
    '../_base_/seg_runtime.py',
]
num_classes = len(_base_.metainfo.classes)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=_base_.crop_size,
    ),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', drop_path_rate=0.0),
    decode_head=dict(
        type='Mask2FormerHead',
        num_classes=num_classes,
        align_corners=False,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1], **_base_.loss_cls),
        train_cfg=_base_.head_train_cfg,
        **_base_.head,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=0.1))
default_hooks = dict(checkpoint=dict(interval=250))
