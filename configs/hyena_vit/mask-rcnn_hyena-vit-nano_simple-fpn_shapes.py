"""Mask R-CNN with a tiny Hyena N-D ViT backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Hardware: CPU.
Command: python tools/train.py configs/hyena_vit/mask-rcnn_hyena-vit-nano_simple-fpn_shapes.py
"""

_base_ = '../shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaViT',
        arch=dict(embed_dims=96, num_layers=6, num_heads=3),
        img_size=160,
        patch_size=16,
        hyena=dict(type='HyenaND', direction='alternating'),
        out_type='featmap',
    ),
    neck=dict(_delete_=True, type='mmhyena.SimpleFeaturePyramid', in_channels=96, out_channels=64, num_outs=4),
)
