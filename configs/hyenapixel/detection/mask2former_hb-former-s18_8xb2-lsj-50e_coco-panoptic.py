r"""Mask2Former with hb_former_s18 for panoptic segmentation on COCO, 50 epochs with large-scale jittering.

Derived: the recipe of mmdet's Mask2Former (arXiv 2112.01527) with a HyenaPixel backbone. Needs panopticapi
    (pip install git+https://github.com/cocodataset/panopticapi.git).
Expected: PQ not published and not measured.
Weights: the backbone starts from checkpoints/hb_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/mask2former_hb-former-s18_8xb2-lsj-50e_coco-panoptic.py 8
"""

_base_ = './mask2former_hpx-former-s18_8xb2-lsj-50e_coco-panoptic.py'

model = dict(
    backbone=dict(arch='hb_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_former_s18.pth')),
)
