"""RetinaNet with hb_a_former_s18 and FPN on COCO, 12 epochs at one scale.

Reproduces: nothing published; the optimizer of the published Cascade Mask R-CNN recipe in the usual 1x setting.
Expected: box AP not published.
Weights: the backbone starts from checkpoints/hb_a_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyenapixel/detection/retinanet_hb-a-former-s18_fpn_1x_coco.py 8
"""

_base_ = './retinanet_hpx-former-s18_fpn_1x_coco.py'

model = dict(
    backbone=dict(arch='hb_a_former_s18', init_cfg=dict(checkpoint='checkpoints/hb_a_former_s18.pth')),
)
