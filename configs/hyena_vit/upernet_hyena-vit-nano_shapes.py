"""UperNet with a tiny Hyena N-D ViT backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Hardware: CPU.
Command: python tools/train.py configs/hyena_vit/upernet_hyena-vit-nano_shapes.py
"""

_base_ = '../shapes/upernet_hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaViT',
        arch=dict(embed_dims=96, num_layers=6, num_heads=3),
        img_size=128,
        patch_size=16,
        hyena=dict(type='HyenaND', direction='alternating'),
        out_indices=(1, 2, 4, 5),
        out_type='featmap',
    ),
    neck=dict(
        type='Feature2Pyramid', embed_dim=96, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='BN', requires_grad=True)
    ),
    decode_head=dict(in_channels=[96] * 4),
    auxiliary_head=dict(in_channels=96),
)
