# ImageNet-1k at 224 x 224 as DeiT, Swin and IBiT train on it: bicubic interpolation throughout. Tested as DeiT and Swin
# are, on the central 224 x 224 of an image whose short side is 256.
_base_ = './imagenet_224.py'

rand_augment = dict(
    policies='timm_increasing',
    hparams=dict(pad_val=[round(value) for value in _base_.bgr_mean], interpolation='bicubic'),
)
train_pipeline = [
    _base_.load_image,
    dict(type='RandomResizedCrop', scale=_base_.image_size, backend='pillow', interpolation='bicubic'),
    _base_.train_pipeline[2],
    {**_base_.rand_augment, **rand_augment},
    *_base_.train_pipeline[4:],
]
test_pipeline = [
    _base_.load_image,
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=_base_.image_size),
    dict(type='PackInputs'),
]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
