"""Mask R-CNN with Swin-T on Shapes under the recipe of mask-rcnn_hpx-former-tiny_fpn_shapes.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: box mAP and mask mAP not published for this recipe, not measured here.
Hardware: a CPU.
Command: python tools/train.py configs/peers/shapes/mask-rcnn_swin-tiny_fpn_shapes.py
"""

_base_ = '../../shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='swin_tiny_patch4_window7_224',
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
