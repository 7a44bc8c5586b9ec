r"""Mask2Former with hb_former_s18 for instances on COCO, 50 epochs with large-scale jittering.

Derived: the recipe of mmdet's Mask2Former (arXiv 2112.01527) with a HyenaPixel backbone.
Expected: mask AP not published and not measured.
Weights: the backbone starts from checkpoints/hb_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/mask2former_hb-former-s18_8xb2-lsj-50e_coco.py 8
"""

_base_ = './mask2former_hpx-former-s18_8xb2-lsj-50e_coco.py'

model = dict(
    backbone=dict(arch='hb_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_former_s18.pth')),
)
