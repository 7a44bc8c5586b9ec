r"""Mask2Former with hb_former_s18 on ADE20K, crops of 512 x 512, 160k iterations.

Derived: the recipe of mmseg's Mask2Former (arXiv 2112.01527) with a HyenaPixel backbone.
Expected: mIoU not published and not measured.
Weights: the backbone starts from checkpoints/hb_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/mask2former_hb-former-s18_8xb2-160k_ade20k-512x512.py 8
"""

_base_ = './mask2former_hpx-former-s18_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(arch='hb_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_former_s18.pth')),
)
