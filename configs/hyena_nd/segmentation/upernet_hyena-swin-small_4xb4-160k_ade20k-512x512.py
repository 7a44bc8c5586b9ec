r"""UperNet with HyenaSwin of the size of Swin-S on ADE20K, crops of 512 x 512, 160k iterations.

Reproduces: nothing published; no result of Hyena N-D on ADE20K exists.
Expected: mIoU not published.
Weights: from scratch, since there are none; the README tells how to start from a classifier.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyena_nd/segmentation/upernet_hyena-swin-small_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = './upernet_hyena-swin-tiny_4xb4-160k_ade20k-512x512.py'
model = dict(backbone=dict(arch='swin_small'))
optim_wrapper = dict(paramwise_cfg=dict(num_layers=9))
