r"""UperNet with hpx_former_s18 on ADE20K, crops of 512 x 512, 160k iterations, single scale.

Reproduces: the published recipe (arXiv 2402.19305).
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.py 4
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
        arch='hpx_former_s18',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
    auxiliary_head=dict(in_channels=320),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=6, official_decay=True))
