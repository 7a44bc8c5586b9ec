"""Hyena N-D with the joint filter in DeiT-Tiny, patches of 16, on ImageNet-1k at 224 x 224.

Reproduces: nothing published; the architecture of arXiv 2309.13600 by DeiT's recipe (arXiv 2012.12877).
Expected: top-1 not published.
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/hyena_vit/hyena-vit-tiny_8xb128_in1k.py 8
"""

_base_ = [
    '../_base_/datasets/imagenet_224_bicubic.py',
    '../_base_/schedules/deit_300e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmhyena.HyenaViT',
        arch='deit_tiny',
        hyena=dict(type='HyenaND', filter='joint', direction='alternating'),
        drop_path_rate=0.1,
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=_base_.data_preprocessor.num_classes,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
train_dataloader = dict(batch_size=128, sampler=dict(_delete_=True, type='RepeatAugSampler'))
