r"""DINO with four scales and hb_former_s18 on COCO, 12 epochs at many scales.

Derived: the recipe of mmdet's DINO (arXiv 2203.03605) with a HyenaPixel backbone.
Expected: box AP not published and not measured.
Weights: the backbone starts from checkpoints/hb_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/dino-4scale_hb-former-s18_8xb2-12e_coco.py 8
"""

_base_ = './dino-4scale_hpx-former-s18_8xb2-12e_coco.py'

model = dict(
    backbone=dict(arch='hb_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_former_s18.pth')),
)
