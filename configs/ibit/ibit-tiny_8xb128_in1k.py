"""IBiT-Ti, patches of 16, on ImageNet-1k at 224 x 224, 300 epochs.

Reproduces: the published training from scratch, with masks rolled back without the published code's slip of one column;
--cfg-options model.backbone.attention.roll=official has the slip.
Expected: top-1 74.26, published (arXiv 2509.22719).
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/ibit/ibit-tiny_8xb128_in1k.py 8
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
        arch='ibit_tiny',
        attention=dict(type='LearnedMaskAttention', rank=9, roll='aligned', normalization='frobenius'),
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(weight_decay=0.1))
