# Far-context Shapes for semantic segmentation (mmseg), where a distant mark gives the class of the figures:
# python tools/dataset_converters/shapes.py --out data/shapes_far_context --variant far-context
# No crop, which could lose the mark, and no change of colors, which tell the marks apart.
_base_ = 'shapes_segmentation.py'
data_root = 'data/shapes_far_context/'
crop_size = (96, 96)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.66, direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
