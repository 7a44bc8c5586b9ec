"""hpx_former_b36 on ImageNet-1k at 384 x 384, fine-tuned from 224 x 224, kernels unchanged.

Reproduces: the published fine-tuning, whose script exists but no result.
Expected: top-1 not published.
Weights: starts from checkpoints/hpx_former_b36.pth.
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/hyenapixel/classification/hpx-former-b36_8xb128_in1k-384px.py 8
"""

_base_ = './hpx-former-s18_8xb128_in1k-384px.py'

model = dict(backbone=dict(arch='hpx_former_b36'), head=dict(in_channels=768))
load_from = 'checkpoints/hpx_former_b36.pth'
