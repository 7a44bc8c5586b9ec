r"""Mask2Former with hpx_former_s18 on ADE20K, crops of 512 x 512, 160k iterations.

Derived: the recipe of mmseg's Mask2Former (arXiv 2112.01527) with a HyenaPixel backbone.
Expected: mIoU not published and not measured.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/mask2former_hpx-former-s18_8xb2-160k_ade20k-512x512.py 8
"""

_base_ = [
    '../../_base_/models/mask2former_semantic.py',
    '../../_base_/datasets/ade20k_512x512.py',
    '../../_base_/schedules/mask2former_160k.py',
    '../../_base_/schedules/custom_keys.py',
    '../../_base_/seg_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
)
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(
        type='RandomChoiceResize',
        scales=[int(512 * ratio * 0.1) for ratio in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=2048,
    ),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.backbone_at_a_tenth))
default_hooks = dict(checkpoint=dict(interval=5000))
