"""Mask R-CNN with hb_former_b36 and FPN on COCO, 36 epochs at many scales.

Reproduces: nothing published; the schedule of the published Cascade Mask R-CNN recipe.
Expected: box AP and mask AP not published.
Weights: the backbone starts from checkpoints/hb_former_b36.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyenapixel/detection/mask-rcnn_hb-former-b36_fpn_ms-crop-3x_coco.py 8
"""

_base_ = './mask-rcnn_hpx-former-b36_fpn_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(arch='hb_former_b36', init_cfg=dict(checkpoint='checkpoints/hb_former_b36.pth')),
)
