"""hpx_former_s18 with kernels 191, 95, 47 and 23 on ImageNet-1k at 384 x 384, fine-tuned from 224 x 224.

Reproduces: the published variant, whose kernels are resampled from 111, 55, 27 and 13.
Expected: top-1 not published.
Weights: starts from checkpoints/hpx_former_s18.pth; the filters are resampled as they are loaded.
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/hyenapixel/classification/hpx-former-s18-k191_8xb128_in1k-384px.py 8
"""

_base_ = './hpx-former-s18_8xb128_in1k-384px.py'

model = dict(backbone=dict(arch='hpx_former_s18_k191'))
