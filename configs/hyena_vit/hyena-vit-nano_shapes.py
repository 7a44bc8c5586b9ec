"""Classifier with a tiny Hyena N-D ViT backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Hardware: CPU.
Command: python tools/train.py configs/hyena_vit/hyena-vit-nano_shapes.py
"""

_base_ = '../shapes/hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaViT',
        arch=dict(embed_dims=96, num_layers=6, num_heads=3),
        img_size=64,
        patch_size=8,
        hyena=dict(type='HyenaND', direction='alternating'),
    ),
    head=dict(_delete_=True, type='LinearClsHead', num_classes=_base_.data_preprocessor.num_classes, in_channels=96),
)
