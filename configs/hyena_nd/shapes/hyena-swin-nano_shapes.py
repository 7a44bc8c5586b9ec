"""Classifier with a tiny HyenaSwin backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Expected: top-1 88.0, measured here (version 4 of the data, seed 0, one run).
Hardware: CPU.
Command: python tools/train.py configs/hyena_nd/shapes/hyena-swin-nano_shapes.py
"""

_base_ = '../../shapes/hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaSwin',
        arch=dict(depths=(2, 2, 4, 2), channels=(32, 64, 128, 192)),
        img_size=64,
        out_indices=(3,),
        gap_before_final_norm=True,
    ),
)
