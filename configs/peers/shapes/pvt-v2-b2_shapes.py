"""PVTv2-B2 classifier on Shapes under the recipe of hpx-former-tiny_shapes.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: top-1 not published for this recipe, not measured here.
Hardware: a CPU.
Command: python tools/train.py configs/peers/shapes/pvt-v2-b2_shapes.py
"""

_base_ = '../../shapes/hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='pvt_v2_b2',
        out_indices=(3,),
        gap_before_final_norm=True,
        drop_path_rate=0.0,
    ),
    head=dict(in_channels=512),
)
