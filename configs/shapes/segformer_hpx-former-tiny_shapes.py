"""SegFormer's head on a tiny HyenaPixel backbone on Shapes.

Reproduces nothing published: an example for people without the large data sets; trained from scratch.
Expected: not measured. Hardware: CPU.
Command: python tools/train.py configs/shapes/segformer_hpx-former-tiny_shapes.py
"""

_base_ = [
    '../_base_/models/segformer.py',
    '../_base_/datasets/shapes_segmentation.py',
    '../_base_/schedules/shapes_1k.py',
    '../_base_/seg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', drop_path_rate=0.0),
    decode_head=dict(
        in_channels=[32, 64, 128, 192],
        channels=64,
        num_classes=len(_base_.metainfo.classes),
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
)
default_hooks = dict(checkpoint=dict(interval=250))
