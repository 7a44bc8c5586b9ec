"""Mask R-CNN with a tiny HyenaSwin backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Expected: box AP and mask AP not measured.
Hardware: CPU.
Command: python tools/train.py configs/hyena_nd/shapes/mask-rcnn_hyena-swin-nano_fpn_shapes.py
"""

_base_ = '../../shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaSwin',
        arch=dict(depths=(2, 2, 4, 2), channels=(32, 64, 128, 192)),
        img_size=160,
    ),
)
