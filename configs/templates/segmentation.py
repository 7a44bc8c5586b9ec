"""Template: UperNet with a HyenaPixel backbone on images of your own with a label map for each.

Label maps are PNG files whose pixels are labels, named as the images are, with 255 where a pixel has no label.
Copy: mmhyena template segmentation mine.py
Edit the lines of the first block; all else follows from them. Command: mmhyena train mine.py
"""

_base_ = [
    'mmhyena::_base_/models/upernet.py',
    'mmhyena::_base_/datasets/ade20k_512x512.py',
    'mmhyena::_base_/schedules/seg_80k.py',
    'mmhyena::_base_/seg_runtime.py',
]
# `_base_` comes first: MMEngine reads a config that imports before it as one of another style.
from mmhyena.backbones.hyena_former import HyenaFormer
from mmhyena.datasets.class_names import read_classes

# --- edit from here ---
data_root = 'data/mine/'
train_images = 'images/train'
train_labels = 'labels/train'
val_images = 'images/val'
val_labels = 'labels/val'
image_suffix = '.jpg'
classes = read_classes(data_root + 'classes.txt')  # one name per line, label 0 first; or the names: ('road', 'sky')
crop_size = (512, 512)  # height and width of training crops, at most that of the images
arch = 'hpx_former_s18'
pretrained = 'hf://Spravil/hpx_former_s18.westai_in1k'  # or a file, or None
batch_size = 4
iterations = 20000
# --- to here ---

validate_every = max(iterations // 10, 1)
in_channels = list(HyenaFormer.arch_settings[arch]['channels'])
init_cfg = dict(type='Pretrained', checkpoint=pretrained) if pretrained else None
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(type='mmhyena.HyenaFormer', arch=arch, drop_path_rate=0.1, init_cfg=init_cfg),
    decode_head=dict(in_channels=in_channels, num_classes=len(classes)),
    auxiliary_head=dict(in_channels=in_channels[2], num_classes=len(classes)),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=crop_size[::-1], ratio_range=(1.0, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.95),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(4 * crop_size[1], crop_size[0]), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
reduce_zero_label = False  # label 0 is the first class
dataset = dict(
    type='BaseSegDataset',
    data_root=data_root,
    metainfo=dict(classes=classes),
    img_suffix=image_suffix,
    seg_map_suffix='.png',
    reduce_zero_label=reduce_zero_label,
)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        **dataset, data_prefix=dict(img_path=train_images, seg_map_path=train_labels), pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    dataset=dict(**dataset, data_prefix=dict(img_path=val_images, seg_map_path=val_labels), pipeline=test_pipeline),
)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=iterations, val_interval=validate_every)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=min(500, iterations // 10)),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=min(500, iterations // 10), end=iterations),
]
default_hooks = dict(checkpoint=dict(interval=validate_every))
auto_scale_lr = dict(enable=True)  # the base rate is for 16 images
del HyenaFormer, dataset
