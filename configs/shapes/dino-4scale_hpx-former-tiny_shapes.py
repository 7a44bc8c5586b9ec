"""A small DINO with a tiny HyenaPixel backbone on Shapes.

Reproduces nothing published: an example for people without the large data sets; trained from scratch.
Expected: not measured. Hardware: CPU.
Command: python tools/train.py configs/shapes/dino-4scale_hpx-former-tiny_shapes.py
"""

_base_ = [
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/shapes_7e_transformer.py',
    '../_base_/det_runtime.py',
]
embed_dims = 64
num_levels = 4
deformable = dict(embed_dims=embed_dims, num_heads=4, num_levels=num_levels, dropout=0.0)
ffn = dict(embed_dims=embed_dims, feedforward_channels=128, ffn_drop=0.0)
model = dict(
    type='DINO',
    num_queries=60,
    with_box_refine=True,
    as_two_stage=True,
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', out_indices=(1, 2, 3), drop_path_rate=0.0),
    neck=dict(
        type='ChannelMapper',
        in_channels=[64, 128, 192],
        kernel_size=1,
        out_channels=embed_dims,
        act_cfg=None,
        norm_cfg=dict(type='GN', num_groups=16),
        num_outs=num_levels,
    ),
    encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=3,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=embed_dims, num_heads=4, dropout=0.0),
            cross_attn_cfg=deformable,
            ffn_cfg=ffn,
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=embed_dims // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type='DINOHead',
        num_classes=len(_base_.classes),
        embed_dims=embed_dims,
        sync_cls_avg_factor=True,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=20),
    ),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=60),
)
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
