"""Tiny HyenaPixel classifier on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without ImageNet.
Expected: top-1 88.0 on the held-out images (one run, measured here: one thread, 3 minutes). Hardware: one CPU core.
Command: python tools/train.py configs/shapes/hpx-former-tiny_shapes.py
"""

_base_ = [
    '../_base_/models/classifier.py',
    '../_base_/datasets/shapes_classification.py',
    '../_base_/schedules/shapes_16e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_tiny',
        out_indices=(3,),
        drop_path_rate=0.0,
        gap_before_final_norm=True,
    ),
    head=dict(num_classes=_base_.data_preprocessor.num_classes, in_channels=192),
)
