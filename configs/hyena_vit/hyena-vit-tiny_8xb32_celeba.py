"""Hyena N-D in DeiT-Tiny on the 40 attributes of CelebA at 224 x 224, 20 epochs.

Reproduces: the published recipe (arXiv 2309.13600): binary cross-entropy, 20 epochs, warm-up 1, batch 256, otherwise
DeiT's defaults without mixup and cutmix; the published command puts the batch of 256 on one GPU.
Expected: not published; mean accuracy over the attributes, average precision and F1 score are reported.
Hardware: 8 GPUs x 32 images.
Command: tools/dist_train.sh configs/hyena_vit/hyena-vit-tiny_8xb32_celeba.py 8
"""

_base_ = [
    '../_base_/datasets/celeba_224.py',
    '../_base_/schedules/deit_300e.py',
    '../_base_/cls_runtime.py',
]
max_epochs = 20
lr = 2.5e-4
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmhyena.HyenaViT',
        arch='deit_tiny',
        hyena=dict(type='HyenaND', filter='joint', direction='alternating'),
        drop_path_rate=0.1,
    ),
    head=dict(
        type='MultiLabelLinearClsHead',
        num_classes=_base_.data_preprocessor.num_classes,
        in_channels=192,
        loss=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
)
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='mmhyena.TimmCosineLR', T_max=max_epochs, eta_min=1e-5, warmup=1, warmup_lr=1e-6, lag=1),
]
auto_scale_lr = dict(base_batch_size=256)
