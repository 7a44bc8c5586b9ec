r"""hpx_former_s18 on ImageNet-1k at 384 x 384, fine-tuned from 224 x 224, kernels unchanged.

Reproduces: the published fine-tuning.
Expected: top-1 84.7, published (arXiv 2402.19305).
Weights: starts from checkpoints/hpx_former_s18.pth.
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/hyenapixel/classification/hpx-former-s18_8xb128_in1k-384px.py 8
Evaluation of converted official weights:
python tools/test.py configs/hyenapixel/classification/hpx-former-s18_8xb128_in1k-384px.py \
    checkpoints/hpx_former_s18_384.pth
"""

_base_ = [
    '../../_base_/models/classifier.py',
    '../../_base_/datasets/imagenet_384.py',
    '../../_base_/schedules/imagenet_finetune_30e.py',
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
    head=dict(in_channels=512, dropout=0.4),
)
load_from = 'checkpoints/hpx_former_s18.pth'
