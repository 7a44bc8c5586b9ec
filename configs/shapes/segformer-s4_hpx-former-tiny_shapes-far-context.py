"""Far-context Shapes by the first stage (stride 4) of a tiny HyenaPixel backbone, without global pooling.

Reproduces nothing published: it shows who sees a mark 40 pixels away. With 7 x 7 mixers no feature reaches it, see
mmhyena/datasets/shapes/far_context.py, and one disc of five is right by chance. Only the discs' pixels are trained and
scored: the question is which class a disc has, not where it lies.
Expected: see docs/evidence.md. Hardware: CPU.
Data: python tools/dataset_converters/shapes.py --out data/shapes_far_context --variant far-context
Command: python tools/train.py configs/shapes/segformer-s4_hpx-former-tiny_shapes-far-context.py
"""

_base_ = [
    '../_base_/models/segformer.py',
    '../_base_/datasets/shapes_far-context_segmentation.py',
    '../_base_/schedules/shapes_1k.py',
    '../_base_/seg_runtime.py',
]
background = 0
model = dict(
    data_preprocessor=dict(size=_base_.crop_size, seg_pad_val=background),
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', out_indices=(0,), drop_path_rate=0.0),
    decode_head=dict(
        in_channels=[32],
        in_index=[0],
        channels=64,
        num_classes=len(_base_.metainfo.classes),
        norm_cfg=dict(type='BN', requires_grad=True),
        ignore_index=background,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
)
val_evaluator = dict(ignore_index=background)
test_evaluator = val_evaluator
train_dataloader = dict(batch_size=32)
default_hooks = dict(checkpoint=dict(interval=250))
