"""PVTv2-B2 on ImageNet-1k at 224 x 224 under the recipe of hpx-former-s18_8xb512_in1k.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: top-1 not published for this recipe, not measured here.
Hardware: 8 GPUs x 512 images.
Command: tools/dist_train.sh configs/peers/classification/pvt-v2-b2_8xb512_in1k.py 8
"""

_base_ = '../../hyenapixel/classification/hpx-former-s18_8xb512_in1k.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='pvt_v2_b2',
        out_indices=(3,),
        gap_before_final_norm=True,
        drop_path_rate=0.2,
    ),
    head=dict(in_channels=512),
)
