"""A small Mask2Former with a tiny HyenaPixel backbone for the instances of Shapes.

Reproduces nothing published: an example for people without the large data sets; trained from scratch.
Expected: not measured. Hardware: CPU.
Command: python tools/train.py configs/shapes/mask2former_hpx-former-tiny_shapes.py
"""

_base_ = [
    '../_base_/models/mask2former_tiny.py',
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/shapes_7e_transformer.py',
    '../_base_/det_runtime.py',
]
num_things = len(_base_.classes)
numbers = dict(num_things_classes=num_things, num_stuff_classes=0)
model = dict(
    panoptic_head=dict(loss_cls=dict(class_weight=[1.0] * num_things + [0.1], **_base_.loss_cls), **numbers),
    panoptic_fusion_head=numbers,
)
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP'))
