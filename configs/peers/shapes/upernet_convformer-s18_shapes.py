"""UperNet with ConvFormer-S18 on Shapes under the recipe of upernet_hpx-former-tiny_shapes.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: mIoU not published for this recipe, not measured here.
Hardware: a CPU.
Command: python tools/train.py configs/peers/shapes/upernet_convformer-s18_shapes.py
"""

_base_ = '../../shapes/upernet_hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='convformer_s18',
        drop_path_rate=0.0,
    ),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
    auxiliary_head=dict(in_channels=320),
)
