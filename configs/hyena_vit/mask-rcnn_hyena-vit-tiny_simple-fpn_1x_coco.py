"""Mask R-CNN with DeiT-Tiny with Hyena N-D and a simple feature pyramid on COCO, 12 epochs at one scale.

Reproduces: nothing published; the pyramid is ViTDet's (arXiv 2203.16527), and no result of Hyena N-D on COCO exists.
Expected: box AP and mask AP not published.
Weights: from scratch, since there are none; --cfg-options model.backbone.init_cfg.type=Pretrained
model.backbone.init_cfg.prefix=backbone. model.backbone.init_cfg.checkpoint=FILE starts from a checkpoint of
hyena-vit-tiny_8xb128_in1k.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyena_vit/mask-rcnn_hyena-vit-tiny_simple-fpn_1x_coco.py 8
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
        arch='deit_tiny',
        hyena=dict(type='HyenaND', filter='joint', direction='alternating'),
        out_type='featmap',
        drop_path_rate=0.1,
    ),
    neck=dict(_delete_=True, type='mmhyena.SimpleFeaturePyramid', in_channels=192, num_outs=5),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
