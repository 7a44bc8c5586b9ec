r"""hpx_former_s18 on ImageNet-1k at 224 x 224.

Reproduces: the published training from scratch.
Expected: top-1 83.2, published (arXiv 2402.19305).
Hardware: 8 GPUs x 512 images.
Command: tools/dist_train.sh configs/hyenapixel/classification/hpx-former-s18_8xb512_in1k.py 8
Evaluation of converted official weights:
python tools/test.py configs/hyenapixel/classification/hpx-former-s18_8xb512_in1k.py \
    checkpoints/hpx_former_s18.pth
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
        arch='hpx_former_s18',
        out_indices=(3,),
        drop_path_rate=0.2,
        gap_before_final_norm=True,
    ),
    head=dict(in_channels=512),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
