"""Hyena N-D with the product filter in DeiT-Tiny, on ImageNet-1k at 224 x 224.

Reproduces: nothing published; the architecture of arXiv 2309.13600 by DeiT's recipe (arXiv 2012.12877).
Expected: top-1 not published.
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/hyena_vit/hyena-vit-tiny-product_8xb128_in1k.py 8
"""

_base_ = './hyena-vit-tiny_8xb128_in1k.py'
model = dict(backbone=dict(hyena=dict(filter='product')))
