"""Mask R-CNN with PVTv2-B2 and FPN on COCO under the recipe of mask-rcnn_hpx-former-s18_fpn_1x_coco.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: box AP and mask AP not published for this recipe, not measured here.
Weights: timm's pvt_v2_b2.in1k from the hub, ImageNet-1k (arXiv 2106.13797).
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh configs/peers/detection/mask-rcnn_pvt-v2-b2_fpn_1x_coco.py 8
"""

_base_ = '../../hyenapixel/detection/mask-rcnn_hpx-former-s18_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='pvt_v2_b2',
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='hf://timm/pvt_v2_b2.in1k'),
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
