r"""UperNet with hpx_former_s18 on Cityscapes, crops of 512 x 1024, 90k iterations.

Reproduces: the published schedule (arXiv 2402.19305), whose batch, learning rate and drop-path are not
    known and taken from the ADE20K recipe.
Expected: mIoU not published.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 4 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/upernet_hpx-former-s18_4xb2-90k_cityscapes-512x1024.py 4
"""

_base_ = [
    '../../_base_/models/upernet.py',
    '../../_base_/datasets/cityscapes_512x1024.py',
    '../../_base_/schedules/seg_90k_stage-decay.py',
    '../../_base_/seg_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    data_preprocessor=dict(size=(512, 1024)),
    decode_head=dict(in_channels=[64, 128, 320, 512], num_classes=19),
    auxiliary_head=dict(in_channels=320, num_classes=19),
)
optim_wrapper = dict(paramwise_cfg=dict(official_decay=True))
default_hooks = dict(checkpoint=dict(interval=9000))
