"""Hyena N-D in DeiT-Tiny on Tiny-ImageNet at 64 x 64, patches of 8, 300 epochs from scratch.

Reproduces: nothing published.
Expected: top-1 not published.
Hardware: 1 GPU x 128 images.
Command: python tools/train.py configs/hyena_vit/hyena-vit-tiny_1xb128_tiny-imagenet.py
"""

_base_ = [
    '../_base_/models/hyena-vit-tiny_small-images.py',
    '../_base_/datasets/tiny-imagenet.py',
    '../_base_/schedules/deit_300e.py',
    '../_base_/cls_runtime.py',
]
model = dict(backbone=dict(img_size=64, patch_size=8), head=dict(num_classes=_base_.data_preprocessor.num_classes))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=128)
