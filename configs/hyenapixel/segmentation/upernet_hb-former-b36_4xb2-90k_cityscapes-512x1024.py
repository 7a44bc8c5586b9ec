r"""UperNet with hb_former_b36 on Cityscapes, crops of 512 x 1024, 90k iterations.

Reproduces: the published schedule (arXiv 2402.19305), whose batch, learning rate and drop-path are not
    known and taken from the ADE20K recipe.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hb_former_b36.pth.
Hardware: 4 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/upernet_hb-former-b36_4xb2-90k_cityscapes-512x1024.py 4
"""

_base_ = './upernet_hpx-former-b36_4xb2-90k_cityscapes-512x1024.py'

model = dict(
    backbone=dict(arch='hb_former_b36', init_cfg=dict(checkpoint='checkpoints/hb_former_b36.pth')),
)
