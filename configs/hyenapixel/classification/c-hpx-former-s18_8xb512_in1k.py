r"""c_hpx_former_s18 on ImageNet-1k at 224 x 224.

Reproduces: the published training from scratch.
Expected: top-1 83.0, published (arXiv 2402.19305).
Hardware: 8 GPUs x 512 images.
Command: tools/dist_train.sh configs/hyenapixel/classification/c-hpx-former-s18_8xb512_in1k.py 8
Evaluation of converted official weights:
python tools/test.py configs/hyenapixel/classification/c-hpx-former-s18_8xb512_in1k.py \
    checkpoints/c_hpx_former_s18.pth
"""

_base_ = './hpx-former-s18_8xb512_in1k.py'

model = dict(backbone=dict(arch='c_hpx_former_s18'))
