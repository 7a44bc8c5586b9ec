# ImageNet-1k at 384 x 384, otherwise as at 224.
_base_ = './imagenet_224.py'

image_size = 384
train_pipeline = [
    _base_.load_image,
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomResizedCrop', scale=image_size, backend='pillow', interpolation=mode)]
            for mode in _base_.interpolations
        ],
    ),
    *_base_.train_pipeline[2:],
]
test_pipeline = [
    _base_.load_image,
    dict(type='ResizeEdge', scale=image_size, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
