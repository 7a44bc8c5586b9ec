r"""UperNet with hpx_former_s18 on Cityscapes, crops of 512 x 1024, 90k iterations.

Reproduces: the published recipe (arXiv 2402.19305), with 19 classes where its code says 150.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/upernet_hpx-former-s18_4xb4-90k_cityscapes-512x1024.py 4
"""

_base_ = [
    '../../_base_/models/upernet.py',
    '../../_base_/datasets/cityscapes_512x1024.py',
    '../../_base_/schedules/seg_90k_stage-decay.py',
    '../../_base_/seg_runtime.py',
]
num_classes = 19
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    data_preprocessor=dict(size=(512, 1024)),
    decode_head=dict(in_channels=[64, 128, 320, 512], num_classes=num_classes),
    auxiliary_head=dict(in_channels=320, num_classes=num_classes),
)
optim_wrapper = dict(paramwise_cfg=dict(official_decay=True))
default_hooks = dict(checkpoint=dict(interval=9000))
