"""UperNet with a tiny HyenaSwin backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Expected: mIoU not measured.
Hardware: CPU.
Command: python tools/train.py configs/hyena_nd/shapes/upernet_hyena-swin-nano_shapes.py
"""

_base_ = '../../shapes/upernet_hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaSwin',
        arch=dict(depths=(2, 2, 4, 2), channels=(32, 64, 128, 192)),
        img_size=128,
    ),
)
