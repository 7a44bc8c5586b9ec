"""Mask R-CNN with DeiT-Base with Hyena N-D and a simple feature pyramid on COCO, 36 epochs at many scales.

Reproduces: nothing published; the pyramid is ViTDet's (arXiv 2203.16527), and no result of Hyena N-D on COCO exists.
Expected: box AP and mask AP not published.
Weights: from scratch, since there are none; --cfg-options model.backbone.init_cfg.type=Pretrained
model.backbone.init_cfg.prefix=backbone. model.backbone.init_cfg.checkpoint=FILE starts from a checkpoint of
hyena-vit-base_8xb128_in1k.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyena_vit/mask-rcnn_hyena-vit-base_simple-fpn_ms-crop-3x_coco.py 8
"""

_base_ = [
    '../_base_/models/mask-rcnn_fpn.py',
    '../_base_/datasets/coco_instance_ms-crop.py',
    '../_base_/schedules/det_3x.py',
    '../_base_/det_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaViT',
        arch='deit_base',
        hyena=dict(type='HyenaND', filter='joint', direction='alternating'),
        out_type='featmap',
        drop_path_rate=0.1,
    ),
    neck=dict(_delete_=True, type='mmhyena.SimpleFeaturePyramid', in_channels=768, num_outs=5),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
