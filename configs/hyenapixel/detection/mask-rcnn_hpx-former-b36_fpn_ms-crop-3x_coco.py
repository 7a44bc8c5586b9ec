"""Mask R-CNN with hpx_former_b36 and FPN on COCO, 36 epochs at many scales.

Reproduces: nothing published; the schedule of the published Cascade Mask R-CNN recipe.
Expected: box AP and mask AP not published.
Weights: the backbone starts from checkpoints/hpx_former_b36.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyenapixel/detection/mask-rcnn_hpx-former-b36_fpn_ms-crop-3x_coco.py 8
"""

_base_ = './mask-rcnn_hpx-former-s18_fpn_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(
        arch='hpx_former_b36',
        drop_path_rate=0.6,
        init_cfg=dict(checkpoint='checkpoints/hpx_former_b36.pth'),
    ),
    neck=dict(in_channels=[128, 256, 512, 768]),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=9))
