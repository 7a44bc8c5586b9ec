"""Mask R-CNN with Swin-T and FPN on COCO under the recipe of mask-rcnn_hpx-former-s18_fpn_1x_coco.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: box AP and mask AP not published for this recipe, not measured here.
Weights: timm's swin_tiny_patch4_window7_224.ms_in1k from the hub, ImageNet-1k (arXiv 2103.14030).
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/peers/detection/mask-rcnn_swin-tiny_fpn_1x_coco.py 8
"""

_base_ = '../../hyenapixel/detection/mask-rcnn_hpx-former-s18_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='swin_tiny_patch4_window7_224',
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='hf://timm/swin_tiny_patch4_window7_224.ms_in1k'),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
