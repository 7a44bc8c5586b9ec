r"""UperNet with HyenaSwin of the size of Swin-T on ADE20K, crops of 512 x 512, 160k iterations.

Reproduces: nothing published; no result of Hyena N-D on ADE20K exists.
Expected: mIoU not published.
Weights: from scratch, since there are none; the README tells how to start from a classifier.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyena_nd/segmentation/upernet_hyena-swin-tiny_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = [
    '../../_base_/models/upernet.py',
    '../../_base_/datasets/ade20k_512x512.py',
    '../../_base_/schedules/seg_160k.py',
    '../../_base_/seg_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaSwin',
        arch='swin_tiny',
        drop_path_rate=0.3,
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
