r"""UperNet with hb_a_former_s18 on ADE20K, tested on sliding windows, several scales and both flips.

Derived: the published multi-scale variant of hpx_former_s18, windows of 512, stride 341 (arXiv 2402.19305),
    with another backbone.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hb_a_former_s18.pth.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_test.sh \
    configs/hyenapixel/segmentation/upernet_hb-a-former-s18_4xb4-160k_ade20k-512x512_slide-ms.py \
    work_dirs/upernet_hb-a-former-s18_4xb4-160k_ade20k-512x512/iter_160000.pth 4 --tta
"""

_base_ = './upernet_hb-a-former-s18_4xb4-160k_ade20k-512x512.py'

model = dict(test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
