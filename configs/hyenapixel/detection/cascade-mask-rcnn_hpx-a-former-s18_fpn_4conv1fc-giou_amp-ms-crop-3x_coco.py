r"""Cascade Mask R-CNN with hpx_a_former_s18 and FPN on COCO, 36 epochs at many scales.

Derived: the published recipe of hpx_former_s18 (arXiv 2402.19305) with another backbone.
Expected: box AP and mask AP not published.
Weights: the backbone starts from checkpoints/hpx_a_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/cascade-mask-rcnn_hpx-a-former-s18_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py 8
"""

_base_ = './cascade-mask-rcnn_hpx-former-s18_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py'

model = dict(
    backbone=dict(arch='hpx_a_former_s18', init_cfg=dict(checkpoint='checkpoints/hpx_a_former_s18.pth')),
)
