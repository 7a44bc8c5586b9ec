"""HyenaSwin of the size of Swin-T on ImageNet-1k at 224 x 224.

Reproduces: nothing published; Hyena N-D (arXiv 2309.13600) in Swin is our reading, trained by Swin's recipe.
Expected: top-1 not published.
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/hyena_nd/classification/hyena-swin-tiny_8xb128_in1k.py 8
"""

_base_ = [
    '../../_base_/datasets/imagenet_224_bicubic.py',
    '../../_base_/schedules/imagenet_300e.py',
    '../../_base_/cls_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmhyena.HyenaSwin',
        arch='swin_tiny',
        out_indices=(3,),
        drop_path_rate=0.2,
        gap_before_final_norm=True,
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=_base_.data_preprocessor.num_classes,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
train_dataloader = dict(batch_size=128)
