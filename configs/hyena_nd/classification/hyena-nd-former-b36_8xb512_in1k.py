"""hyena_nd_former_b36 on ImageNet-1k at 224 x 224.

Reproduces: nothing published; Hyena N-D (arXiv 2309.13600) in every stage of the MetaFormer pyramid is ours, trained
by the recipe of HyenaPixel.
Expected: top-1 not published.
Hardware: 8 GPUs x 512 images.
Command: tools/dist_train.sh configs/hyena_nd/classification/hyena-nd-former-b36_8xb512_in1k.py 8
"""

_base_ = './hyena-nd-former-s18_8xb512_in1k.py'
model = dict(
    backbone=dict(arch='hyena_nd_former_b36', drop_path_rate=0.6),
    head=dict(in_channels=768),
)
