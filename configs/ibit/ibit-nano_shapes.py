"""Classifier with a tiny IBiT backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Hardware: CPU.
Command: python tools/train.py configs/ibit/ibit-nano_shapes.py
"""

_base_ = '../shapes/hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaViT',
        arch=dict(embed_dims=96, num_layers=6, num_heads=3),
        img_size=64,
        patch_size=8,
        token_mixers='attention',
        attention=dict(type='LearnedMaskAttention', rank=9),
        position='sincos',
        residual_from_norm=True,
        final_norm=False,
    ),
    head=dict(_delete_=True, type='LinearClsHead', num_classes=_base_.data_preprocessor.num_classes, in_channels=96),
)
