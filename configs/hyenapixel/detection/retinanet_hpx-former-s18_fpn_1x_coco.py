"""RetinaNet with hpx_former_s18 and FPN on COCO, 12 epochs at one scale.

Reproduces: nothing published; the optimizer of the published Cascade Mask R-CNN recipe in the usual 1x setting.
Expected: box AP not published.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyenapixel/detection/retinanet_hpx-former-s18_fpn_1x_coco.py 8
"""

_base_ = [
    '../../_base_/models/retinanet_fpn.py',
    '../../_base_/datasets/coco_detection.py',
    '../../_base_/schedules/det_1x.py',
    '../../_base_/det_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        out_indices=(1, 2, 3),
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    neck=dict(in_channels=[128, 320, 512]),
)
