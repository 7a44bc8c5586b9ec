"""Mask R-CNN with ConvFormer-S18 on Shapes under the recipe of mask-rcnn_hpx-former-tiny_fpn_shapes.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: box mAP and mask mAP not published for this recipe, not measured here.
Hardware: a CPU.
Command: python tools/train.py configs/peers/shapes/mask-rcnn_convformer-s18_fpn_shapes.py
"""

_base_ = '../../shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='convformer_s18',
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
