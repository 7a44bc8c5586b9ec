r"""UperNet with c_hpx_former_s18 on Cityscapes, crops of 512 x 1024, 90k iterations.

Reproduces: the published schedule (arXiv 2402.19305), whose batch, learning rate and drop-path are not
    known and taken from the ADE20K recipe.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/c_hpx_former_s18.pth.
Hardware: 4 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/upernet_c-hpx-former-s18_4xb2-90k_cityscapes-512x1024.py 4
"""

_base_ = './upernet_hpx-former-s18_4xb2-90k_cityscapes-512x1024.py'

model = dict(
    backbone=dict(arch='c_hpx_former_s18', init_cfg=dict(checkpoint='checkpoints/c_hpx_former_s18.pth')),
)
