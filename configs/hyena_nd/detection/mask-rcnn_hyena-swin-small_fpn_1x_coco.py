"""Mask R-CNN with HyenaSwin of the size of Swin-S and FPN on COCO, 12 epochs at one scale.

Reproduces: nothing published; no result of Hyena N-D on COCO exists.
Expected: box AP and mask AP not published.
Weights: from scratch, since there are none; the README tells how to start from a classifier.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyena_nd/detection/mask-rcnn_hyena-swin-small_fpn_1x_coco.py 8
"""

_base_ = './mask-rcnn_hyena-swin-tiny_fpn_1x_coco.py'
model = dict(backbone=dict(arch='swin_small', drop_path_rate=0.3))
optim_wrapper = dict(paramwise_cfg=dict(num_layers=9))
