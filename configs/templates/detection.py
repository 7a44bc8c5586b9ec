"""Template: Mask R-CNN with a HyenaPixel backbone on images of your own with annotations in COCO's format.

Copy: mmhyena template detection mine.py
Edit the lines of the first block; all else follows from them. Command: mmhyena train mine.py
"""

_base_ = [
    'mmhyena::_base_/models/mask-rcnn_fpn.py',
    'mmhyena::_base_/datasets/coco_instance.py',
    'mmhyena::_base_/schedules/det_1x.py',
    'mmhyena::_base_/det_runtime.py',
]
# `_base_` comes first: MMEngine reads a config that imports before it as one of another style.
from mmhyena.backbones.hyena_former import HyenaFormer
from mmhyena.datasets.class_names import read_classes

# --- edit from here ---
data_root = 'data/mine/'
train_json = 'annotations/train.json'
train_images = 'train/'
val_json = 'annotations/val.json'
val_images = 'val/'
classes = read_classes(data_root + train_json)  # or the names: ('cat', 'dog')
masks = True  # False for boxes alone
image_size = (1333, 800)  # bounds of the longer and the shorter side
arch = 'hpx_former_s18'
pretrained = 'hf://Spravil/hpx_former_s18.westai_in1k'  # or a file, or None
batch_size = 2
epochs = 12
# --- to here ---

in_channels = list(HyenaFormer.arch_settings[arch]['channels'])
init_cfg = dict(type='Pretrained', checkpoint=pretrained) if pretrained else None
bbox_head = dict(num_classes=len(classes))
mask_head = dict(num_classes=len(classes)) if masks else None
model = dict(
    type='MaskRCNN' if masks else 'FasterRCNN',
    backbone=dict(type='mmhyena.HyenaFormer', arch=arch, drop_path_rate=0.1, init_cfg=init_cfg),
    neck=dict(in_channels=in_channels),
    roi_head=dict(bbox_head=bbox_head, mask_head=mask_head),
)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=masks)]
resize = dict(type='Resize', scale=image_size, keep_ratio=True)
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
train_pipeline = [*load, resize, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
test_pipeline = [load[0], resize, load[1], dict(type='PackDetInputs', meta_keys=meta_keys)]
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        data_root=data_root,
        ann_file=train_json,
        data_prefix=dict(img=train_images),
        metainfo=dict(classes=classes),
        filter_cfg=dict(min_size=4),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=val_json,
        data_prefix=dict(img=val_images),
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val_json, metric=['bbox', 'segm'] if masks else ['bbox'])
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=epochs, T_max=epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=True)  # the base rate is for 16 images
del HyenaFormer
