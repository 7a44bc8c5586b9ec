"""Far-context Shapes by the first two stages (strides 4 and 8) of a tiny HyenaPixel backbone, without global pooling.

Reproduces nothing published: it shows who sees a mark 96 pixels away. With 7 x 7 mixers no feature reaches it, see
mmhyena/datasets/shapes/far_context.py, and mIoU stays at that of guessed classes.
Expected: see docs/evidence.md. Hardware: CPU.
Data: python tools/dataset_converters/shapes.py --out data/shapes_far_context --variant far-context
Command: python tools/train.py configs/shapes/segformer-s8_hpx-former-tiny_shapes-far-context.py
"""

_base_ = [
    '../_base_/models/segformer.py',
    '../_base_/datasets/shapes_far-context_segmentation.py',
    '../_base_/schedules/shapes_1k.py',
    '../_base_/seg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', out_indices=(0, 1), drop_path_rate=0.0),
    decode_head=dict(
        in_channels=[32, 64],
        in_index=[0, 1],
        channels=64,
        num_classes=len(_base_.metainfo.classes),
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
)
default_hooks = dict(checkpoint=dict(interval=250))
