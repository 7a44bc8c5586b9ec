# A small Mask2Former for Shapes in mmdet. The config that inherits this sets the numbers of things and stuff.
_base_ = './mask2former_tiny-head.py'

model = dict(
    type='Mask2Former',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=True,
        seg_pad_value=255,
    ),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', drop_path_rate=0.0),
    panoptic_head=dict(type='Mask2FormerHead', **_base_.head),
    panoptic_fusion_head=dict(type='MaskFormerFusionHead', loss_panoptic=None, init_cfg=None),
    train_cfg=_base_.head_train_cfg,
    test_cfg=dict(
        panoptic_on=False,
        semantic_on=False,  # mmdet has no metric for it
        instance_on=True,
        max_per_image=30,
        iou_thr=0.8,
        filter_low_score=True,
    ),
)
