"""hyena_nd_former_s18 on ImageNet-1k at 224 x 224.

Reproduces: nothing published; Hyena N-D (arXiv 2309.13600) in every stage of the MetaFormer pyramid is ours, trained
by the recipe of HyenaPixel.
Expected: top-1 not published.
Hardware: 8 GPUs x 512 images.
Command: tools/dist_train.sh configs/hyena_nd/classification/hyena-nd-former-s18_8xb512_in1k.py 8
"""

_base_ = [
    '../../_base_/models/classifier.py',
    '../../_base_/datasets/imagenet_224.py',
    '../../_base_/schedules/imagenet_310e.py',
    '../../_base_/cls_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hyena_nd_former_s18',
        out_indices=(3,),
        drop_path_rate=0.2,
        gap_before_final_norm=True,
    ),
    head=dict(in_channels=512),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
optim_wrapper = dict(paramwise_cfg=dict(official_decay=False))
