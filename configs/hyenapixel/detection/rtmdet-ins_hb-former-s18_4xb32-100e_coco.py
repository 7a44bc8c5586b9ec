r"""RTMDet-Ins with hb_former_s18 on COCO at 640 x 640, 100 epochs.

Derived: the head and augmentation of mmdet's RTMDet-Ins-l (arXiv 2212.07784) with a HyenaPixel backbone, trained as
    mmdet trains RTMDet-l with Swin: 100 epochs at a rate of 1e-3, group norm.
Expected: box AP and mask AP not published and not measured.
Weights: the backbone starts from checkpoints/hb_former_s18.pth.
Hardware: 4 GPUs x 32 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/rtmdet-ins_hb-former-s18_4xb32-100e_coco.py 4
"""

_base_ = './rtmdet-ins_hpx-former-s18_4xb32-100e_coco.py'

model = dict(
    backbone=dict(arch='hb_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_former_s18.pth')),
)
