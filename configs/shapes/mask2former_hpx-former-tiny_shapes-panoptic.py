"""A small Mask2Former with a tiny HyenaPixel backbone for panoptic segmentation of Shapes.

Reproduces nothing published: an example for people without the large data sets; trained from scratch. Needs
panopticapi (pip install git+https://github.com/cocodataset/panopticapi.git).
Expected: not measured. Hardware: CPU.
Command: python tools/train.py configs/shapes/mask2former_hpx-former-tiny_shapes-panoptic.py
"""

_base_ = [
    '../_base_/models/mask2former_tiny.py',
    '../_base_/datasets/shapes_panoptic.py',
    '../_base_/schedules/shapes_7e_transformer.py',
    '../_base_/det_runtime.py',
]
numbers = dict(num_things_classes=len(_base_.things), num_stuff_classes=len(_base_.stuff))
class_weight = [1.0] * len(_base_.metainfo.classes) + [0.1]
model = dict(
    panoptic_head=dict(loss_cls=dict(class_weight=class_weight, **_base_.loss_cls), **numbers),
    panoptic_fusion_head=numbers,
    test_cfg=dict(panoptic_on=True, instance_on=False),
)
default_hooks = dict(checkpoint=dict(save_best='coco_panoptic/PQ'))
