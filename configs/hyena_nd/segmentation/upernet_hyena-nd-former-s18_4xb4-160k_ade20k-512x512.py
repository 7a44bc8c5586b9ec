r"""UperNet with hyena_nd_former_s18 on ADE20K, crops of 512 x 512, 160k iterations.

Reproduces: nothing published; no result of Hyena N-D on ADE20K exists.
Expected: mIoU not published.
Weights: from scratch, since there are none; the README tells how to start from a classifier.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyena_nd/segmentation/upernet_hyena-nd-former-s18_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = [
    '../../_base_/models/upernet.py',
    '../../_base_/datasets/ade20k_512x512.py',
    '../../_base_/schedules/seg_160k.py',
    '../../_base_/seg_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hyena_nd_former_s18',
        drop_path_rate=0.4,
    ),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
    auxiliary_head=dict(in_channels=320),
)
