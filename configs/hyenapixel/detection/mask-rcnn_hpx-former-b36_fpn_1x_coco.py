"""Mask R-CNN with hpx_former_b36 and FPN on COCO, 12 epochs at one scale.

Reproduces: nothing published; the optimizer of the published Cascade Mask R-CNN recipe in the usual 1x setting.
Expected: box AP and mask AP not published.
Weights: the backbone starts from checkpoints/hpx_former_b36.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyenapixel/detection/mask-rcnn_hpx-former-b36_fpn_1x_coco.py 8
"""

_base_ = './mask-rcnn_hpx-former-s18_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        arch='hpx_former_b36',
        drop_path_rate=0.6,
        init_cfg=dict(checkpoint='checkpoints/hpx_former_b36.pth'),
    ),
    neck=dict(in_channels=[128, 256, 512, 768]),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=9))
