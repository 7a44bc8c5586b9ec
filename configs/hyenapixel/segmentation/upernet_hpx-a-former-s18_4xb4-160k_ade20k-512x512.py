r"""UperNet with hpx_a_former_s18 on ADE20K, crops of 512 x 512, 160k iterations, single scale.

Derived: the published recipe of hpx_former_s18 (arXiv 2402.19305) with another backbone.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hpx_a_former_s18.pth.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/upernet_hpx-a-former-s18_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = './upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(arch='hpx_a_former_s18', init_cfg=dict(checkpoint='checkpoints/hpx_a_former_s18.pth')),
)
