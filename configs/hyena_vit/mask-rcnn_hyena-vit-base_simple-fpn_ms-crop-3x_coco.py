"""Mask R-CNN with DeiT-Base with Hyena N-D and a simple feature pyramid on COCO, 36 epochs at many scales.

Reproduces: nothing published; the pyramid is ViTDet's (arXiv 2203.16527), and no result of Hyena N-D on COCO exists.
Expected: box AP and mask AP not published.
Weights: from scratch, since there are none; --cfg-options model.backbone.init_cfg.type=Pretrained
model.backbone.init_cfg.prefix=backbone. model.backbone.init_cfg.checkpoint=FILE starts from a checkpoint of
hyena-vit-base_8xb128_in1k.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/hyena_vit/mask-rcnn_hyena-vit-base_simple-fpn_ms-crop-3x_coco.py 8
"""

_base_ = './mask-rcnn_hyena-vit-small_simple-fpn_ms-crop-3x_coco.py'
model = dict(backbone=dict(arch='deit_base'), neck=dict(in_channels=768))
