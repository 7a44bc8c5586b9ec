"""Hyena N-D in DeiT-Tiny on CIFAR-100 at 32 x 32, patches of 4, 300 epochs from scratch.

Reproduces: nothing published.
Expected: top-1 not published.
Hardware: 1 GPU x 128 images.
Command: python tools/train.py configs/hyena_vit/hyena-vit-tiny_1xb128_cifar100.py
"""

_base_ = [
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/deit_300e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmhyena.HyenaViT',
        arch='deit_tiny',
        img_size=32,
        patch_size=4,
        hyena=dict(type='HyenaND', filter='joint', direction='alternating'),
        drop_path_rate=0.1,
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=128)
