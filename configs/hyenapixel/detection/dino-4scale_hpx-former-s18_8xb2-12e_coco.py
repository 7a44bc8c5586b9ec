r"""DINO with four scales and hpx_former_s18 on COCO, 12 epochs at many scales.

Derived: the recipe of mmdet's DINO (arXiv 2203.03605) with a HyenaPixel backbone.
Expected: box AP not published and not measured.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/dino-4scale_hpx-former-s18_8xb2-12e_coco.py 8
"""

_base_ = [
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    '../../_base_/schedules/custom_keys.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        out_indices=(1, 2, 3),
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    neck=dict(in_channels=[128, 320, 512]),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.backbone_at_a_tenth))
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP', rule='greater', max_keep_ckpts=3))
