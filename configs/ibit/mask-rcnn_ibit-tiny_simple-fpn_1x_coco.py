"""Mask R-CNN with IBiT-Ti and a simple feature pyramid on COCO, 12 epochs at one scale.

Reproduces: nothing published; the pyramid is ViTDet's (arXiv 2203.16527), and no result of IBiT on COCO exists.
Expected: box AP and mask AP not published.
Weights: from scratch; --cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE
model.backbone.attention.type=LearnedMaskAttention model.backbone.attention.roll=official starts from the official
weights or from a checkpoint of ibit-tiny_8xb128_in1k.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/ibit/mask-rcnn_ibit-tiny_simple-fpn_1x_coco.py 8
"""

_base_ = [
    '../_base_/models/mask-rcnn_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/det_1x.py',
    '../_base_/det_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaViT',
        arch='ibit_tiny',
        out_type='featmap',
        drop_path_rate=0.1,
    ),
    neck=dict(_delete_=True, type='mmhyena.SimpleFeaturePyramid', in_channels=192, num_outs=5),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
