r"""UperNet with hb_a_former_s18 on Cityscapes, crops of 512 x 1024, 90k iterations.

Derived: the published recipe of hpx_former_s18 (arXiv 2402.19305) with another backbone.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hb_a_former_s18.pth.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/upernet_hb-a-former-s18_4xb4-90k_cityscapes-512x1024.py 4
"""

_base_ = './upernet_hpx-former-s18_4xb4-90k_cityscapes-512x1024.py'

model = dict(
    backbone=dict(arch='hb_a_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_a_former_s18.pth')),
)
