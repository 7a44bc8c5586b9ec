r"""Semantic FPN with hpx_former_s18 on ADE20K, crops of 512 x 512, 80k iterations.

Reproduces: nothing published; the optimizer of the published UperNet recipe.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/semantic-fpn_hpx-former-s18_4xb4-80k_ade20k-512x512.py 4
"""

_base_ = [
    '../../_base_/models/semantic-fpn.py',
    '../../_base_/datasets/ade20k_512x512.py',
    '../../_base_/schedules/seg_80k.py',
    '../../_base_/seg_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
default_hooks = dict(checkpoint=dict(interval=8000))
