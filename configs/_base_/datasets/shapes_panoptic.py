# Shapes for panoptic segmentation (mmdet): the figures are things, the background is stuff.
# python tools/dataset_converters/shapes.py --out data/shapes
_base_ = './shapes_detection.py'

dataset_type = 'CocoPanopticDataset'
things = _base_.classes
stuff = ('background',)
metainfo = dict(
    classes=(*things, *stuff),
    thing_classes=things,
    stuff_classes=stuff,
    palette=[*_base_.palette, (60, 60, 60)],
)
load_panoptic = dict(type='LoadPanopticAnnotations', with_bbox=True, with_mask=True, with_seg=True)
train_pipeline = [_base_.train_pipeline[0], load_panoptic, *_base_.train_pipeline[2:]]
test_pipeline = [*_base_.test_pipeline[:2], load_panoptic, _base_.test_pipeline[-1]]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        ann_file='annotations/panoptic_train.json',
        data_prefix=dict(seg='annotations/panoptic_train/'),
        metainfo=metainfo,
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        ann_file='annotations/panoptic_val.json',
        data_prefix=dict(seg='annotations/panoptic_val/'),
        metainfo=metainfo,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True,
    type='CocoPanopticMetric',
    ann_file=_base_.data_root + 'annotations/panoptic_val.json',
    seg_prefix=_base_.data_root + 'annotations/panoptic_val/',
)
test_evaluator = val_evaluator
