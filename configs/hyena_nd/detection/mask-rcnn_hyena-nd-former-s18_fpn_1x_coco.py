"""Mask R-CNN with hyena_nd_former_s18 and FPN on COCO, 12 epochs at one scale.

Reproduces: nothing published; no result of Hyena N-D on COCO exists.
Expected: box AP and mask AP not published.
Weights: from scratch, since there are none; the README tells how to start from a classifier.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyena_nd/detection/mask-rcnn_hyena-nd-former-s18_fpn_1x_coco.py 8
"""

_base_ = [
    '../../_base_/models/mask-rcnn_fpn.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/det_1x.py',
    '../../_base_/det_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hyena_nd_former_s18',
        drop_path_rate=0.2,
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
