"""Template: a HyenaPixel classifier on images of your own, one folder per class.

Copy: mmhyena template classification mine.py
Edit the lines of the first block; all else follows from them. Command: mmhyena train mine.py
"""

_base_ = [
    'mmhyena::_base_/models/classifier.py',
    'mmhyena::_base_/datasets/imagenet_224.py',
    'mmhyena::_base_/schedules/imagenet_finetune_30e.py',
    'mmhyena::_base_/cls_runtime.py',
]
# `_base_` comes first: MMEngine reads a config that imports before it as one of another style.
from mmhyena.backbones.hyena_former import HyenaFormer
from mmhyena.datasets.class_names import read_classes

# --- edit from here ---
data_root = 'data/mine/'
train_folder = 'train'
val_folder = 'val'
classes = read_classes(data_root + train_folder)  # or the names of the folders: ('cat', 'dog')
image_size = 224
arch = 'hpx_former_s18'
pretrained = 'hf://Spravil/hpx_former_s18.westai_in1k'  # or a file, or None
batch_size = 32
epochs = 30
learning_rate = 2e-4
# --- to here ---

init_cfg = dict(type='Pretrained', checkpoint=pretrained) if pretrained else None
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch=arch,
        out_indices=(3,),
        drop_path_rate=0.1,
        gap_before_final_norm=True,
        init_cfg=init_cfg,
    ),
    head=dict(num_classes=len(classes), in_channels=HyenaFormer.arch_settings[arch]['channels'][-1]),
)
data_preprocessor = dict(num_classes=len(classes))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size, crop_ratio_range=(0.5, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=image_size, edge='short', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
dataset = dict(_delete_=True, type='mmhyena.ClassFolders', data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    dataset=dict(**dataset, data_prefix=train_folder, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    dataset=dict(**dataset, data_prefix=val_folder, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=1)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=epochs)
optim_wrapper = dict(optimizer=dict(lr=learning_rate))
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=epochs, T_max=epochs, convert_to_iter_based=True),
]
custom_hooks = []
del HyenaFormer, dataset
