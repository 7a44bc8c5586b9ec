r"""IBiT-Ti, patches of 16, on ImageNet-1k at 224 x 224, 300 epochs.

Reproduces: the published training from scratch and its evaluation, the published roll of the masks included, which is
off by one column; --cfg-options model.backbone.attention.roll=aligned trains with the one that the paper describes.
Linear layers start from a truncated normal of 0.02, where the official code keeps torch's initialization.
Expected: top-1 74.26, published (arXiv 2509.22719).
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/ibit/ibit-tiny_8xb128_in1k.py 8
Evaluation of official weights (models/IBiT/model299.pt of their repository):
python tools/test.py configs/ibit/ibit-tiny_8xb128_in1k.py model299.pt
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
        attention=dict(type='LearnedMaskAttention', rank=9, roll='official', normalization='frobenius'),
        position='sincos_1d',
        drop_path_rate=0.1,
        drop_path_schedule='constant',
        drop_path_mlp=False,
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
# Every tensor decays, norms, biases and masks included; no mixed precision.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1),
)
# Short side to 256, bilinear with antialiasing, then the center.
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow', color_type='color_ignore_orientation'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bilinear'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
tta_pipeline = [
    *test_pipeline[:-1],
    dict(
        type='TestTimeAug',
        transforms=[[dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)], [dict(type='PackInputs')]],
    ),
]
train_dataloader = dict(batch_size=128)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
