"""UperNet with Swin-T on Shapes under the recipe of upernet_hpx-former-tiny_shapes.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: mIoU not published for this recipe, not measured here.
Hardware: a CPU.
Command: python tools/train.py configs/peers/shapes/upernet_swin-tiny_shapes.py
"""

_base_ = '../../shapes/upernet_hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='swin_tiny_patch4_window7_224',
        drop_path_rate=0.0,
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
