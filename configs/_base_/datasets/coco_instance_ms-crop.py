# COCO 2017 for instance segmentation with DETR's multi-scale training: resized, or resized, cropped and resized again.
_base_ = './coco_instance.py'

short_sides = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
long_side = 1333
first_scales = [(side, long_side) for side in (400, 500, 600)]
scales = [(side, long_side) for side in short_sides]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomChoiceResize', scales=scales, keep_ratio=True)],
            [
                dict(type='RandomChoiceResize', scales=first_scales, keep_ratio=True),
                dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True),
                dict(type='RandomChoiceResize', scales=scales, keep_ratio=True),
            ],
        ],
    ),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
