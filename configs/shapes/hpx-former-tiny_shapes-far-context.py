"""Tiny HyenaPixel classifier on far-context Shapes: a control, since global pooling sees the mark wherever it is.

Reproduces nothing published.
Expected: not measured. Hardware: CPU.
Data: python tools/dataset_converters/shapes.py --out data/shapes_far_context --variant far-context
Command: python tools/train.py configs/shapes/hpx-former-tiny_shapes-far-context.py
"""

_base_ = 'hpx-former-tiny_shapes.py'
data_root = 'data/shapes_far_context/classification'
image_size = 96
# No crop, which could lose the mark.
train_pipeline = [_base_.train_pipeline[0], *_base_.train_pipeline[2:]]
to_image_size = dict(type='Resize', scale=(image_size, image_size), interpolation='bicubic')
test_pipeline = [_base_.test_pipeline[0], to_image_size, _base_.test_pipeline[-1]]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
