"""Mask R-CNN with a tiny HyenaPixel backbone on far-context Shapes: the class of a figure is given by a distant mark.

Reproduces nothing published. All four stages are read, so that 7 x 7 mixers reach the mark in theory.
Expected: not measured. Hardware: CPU.
Data: python tools/dataset_converters/shapes.py --out data/shapes_far_context --variant far-context
Command: python tools/train.py configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes-far-context.py
"""

_base_ = 'mask-rcnn_hpx-former-tiny_fpn_shapes.py'
data_root = 'data/shapes_far_context/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator
