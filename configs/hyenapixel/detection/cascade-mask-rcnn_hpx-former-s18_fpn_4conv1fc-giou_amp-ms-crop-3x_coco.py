r"""Cascade Mask R-CNN with hpx_former_s18 and FPN on COCO, 36 epochs at many scales.

Reproduces: the published recipe (arXiv 2402.19305).
Expected: box AP and mask AP not published.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/cascade-mask-rcnn_hpx-former-s18_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py 8
"""

_base_ = [
    '../../_base_/models/cascade-mask-rcnn_fpn_4conv1fc-giou.py',
    '../../_base_/datasets/coco_instance_ms-crop.py',
    '../../_base_/schedules/det_3x.py',
    '../../_base_/det_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
optim_wrapper = dict(type='AmpOptimWrapper', paramwise_cfg=dict(num_layers=6, official_decay=True))
