"""HyenaSwin of the size of Swin-B on ImageNet-1k at 224 x 224.

Reproduces: nothing published; Hyena N-D (arXiv 2309.13600) in Swin is our reading, trained by Swin's recipe.
Expected: top-1 not published.
Hardware: 8 GPUs x 128 images.
Command: tools/dist_train.sh configs/hyena_nd/classification/hyena-swin-base_8xb128_in1k.py 8
"""

_base_ = './hyena-swin-tiny_8xb128_in1k.py'
model = dict(
    backbone=dict(arch='swin_base', drop_path_rate=0.5),
    head=dict(in_channels=1024),
)
