"""Swin-T on ImageNet-1k at 224 x 224 under the recipe of hpx-former-s18_8xb512_in1k.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: top-1 not published for this recipe, not measured here.
Hardware: 8 GPUs x 512 images.
Command: tools/dist_train.sh configs/peers/classification/swin-tiny_8xb512_in1k.py 8
"""

_base_ = '../../hyenapixel/classification/hpx-former-s18_8xb512_in1k.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='swin_tiny_patch4_window7_224',
        out_indices=(3,),
        gap_before_final_norm=True,
        drop_path_rate=0.2,
    ),
    head=dict(in_channels=768),
)
