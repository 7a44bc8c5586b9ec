"""Swin-T classifier on Shapes under the recipe of hpx-former-tiny_shapes.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: top-1 not published for this recipe, not measured here.
Hardware: a CPU.
Command: python tools/train.py configs/peers/shapes/swin-tiny_shapes.py
"""

_base_ = '../../shapes/hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='swin_tiny_patch4_window7_224',
        out_indices=(3,),
        gap_before_final_norm=True,
        drop_path_rate=0.0,
    ),
    head=dict(in_channels=768),
)
