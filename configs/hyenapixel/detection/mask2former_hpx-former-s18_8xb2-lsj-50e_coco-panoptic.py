r"""Mask2Former with hpx_former_s18 for panoptic segmentation on COCO, 50 epochs with large-scale jittering.

Derived: the recipe of mmdet's Mask2Former (arXiv 2112.01527) with a HyenaPixel backbone. Needs panopticapi
    (pip install git+https://github.com/cocodataset/panopticapi.git).
Expected: PQ not published and not measured.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/mask2former_hpx-former-s18_8xb2-lsj-50e_coco-panoptic.py 8
"""

_base_ = [
    'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    '../../_base_/schedules/custom_keys.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    panoptic_head=dict(in_channels=[64, 128, 320, 512]),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.backbone_at_a_tenth))
default_hooks = dict(checkpoint=dict(save_best='coco_panoptic/PQ', rule='greater'))
