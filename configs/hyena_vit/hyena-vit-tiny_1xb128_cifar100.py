"""Hyena N-D in DeiT-Tiny on CIFAR-100 at 32 x 32, patches of 4, 300 epochs from scratch.

Reproduces: nothing published.
Expected: top-1 not published.
Hardware: 1 GPU x 128 images.
Command: python tools/train.py configs/hyena_vit/hyena-vit-tiny_1xb128_cifar100.py
"""

_base_ = [
    '../_base_/models/hyena-vit-tiny_small-images.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/deit_300e.py',
    '../_base_/cls_runtime.py',
]
model = dict(head=dict(num_classes=_base_.data_preprocessor.num_classes))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=128)
