r"""hb_former_b36 on ImageNet-1k at 224 x 224.

Reproduces: the published training from scratch.
Expected: top-1 85.2, published (arXiv 2402.19305).
Hardware: 8 GPUs x 512 images.
Command: tools/dist_train.sh configs/hyenapixel/classification/hb-former-b36_8xb512_in1k.py 8
Evaluation of converted official weights:
python tools/test.py configs/hyenapixel/classification/hb-former-b36_8xb512_in1k.py \
    checkpoints/hb_former_b36.pth
"""

_base_ = './hpx-former-b36_8xb512_in1k.py'

model = dict(backbone=dict(arch='hb_former_b36'))
