"""Mask R-CNN with hb_a_former_s18 and FPN on COCO, 36 epochs at many scales.

Reproduces: nothing published; the schedule of the published Cascade Mask R-CNN recipe.
Expected: box AP and mask AP not published.
Weights: the backbone starts from checkpoints/hb_a_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyenapixel/detection/mask-rcnn_hb-a-former-s18_fpn_ms-crop-3x_coco.py 8
"""

_base_ = './mask-rcnn_hpx-former-s18_fpn_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(arch='hb_a_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_a_former_s18.pth')),
)
