"""Mask R-CNN with hb_former_b36 and FPN on COCO, 12 epochs at one scale.

Reproduces: nothing published; the optimizer of the published Cascade Mask R-CNN recipe in the usual 1x setting.
Expected: box AP and mask AP not published.
Weights: the backbone starts from checkpoints/hb_former_b36.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyenapixel/detection/mask-rcnn_hb-former-b36_fpn_1x_coco.py 8
"""

_base_ = './mask-rcnn_hpx-former-b36_fpn_1x_coco.py'

model = dict(
    backbone=dict(arch='hb_former_b36', init_cfg=dict(checkpoint='checkpoints/hb_former_b36.pth')),
)
