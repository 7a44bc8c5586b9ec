r"""RTMDet-Ins with hpx_former_s18 on COCO at 640 x 640, 100 epochs.

Derived: the head and augmentation of mmdet's RTMDet-Ins-l (arXiv 2212.07784) with a HyenaPixel backbone, trained as
    mmdet trains RTMDet-l with Swin: 100 epochs at a rate of 1e-3, group norm.
Expected: box AP and mask AP not published and not measured.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 4 GPUs x 32 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/detection/rtmdet-ins_hpx-former-s18_4xb32-100e_coco.py 4
"""

_base_ = [
    'mmdet::rtmdet/rtmdet-ins_l_8xb32-300e_coco.py',
    '../../_base_/schedules/custom_keys.py',
]
norm_cfg = dict(type='GN', num_groups=32)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        _delete_=True,
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        out_indices=(1, 2, 3),
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    neck=dict(in_channels=[128, 320, 512], norm_cfg=norm_cfg),
    bbox_head=dict(norm_cfg=norm_cfg),
)
max_epochs = 100
stage2_epochs = 10  # without mosaic and mixup
lr = 1e-3
train_cfg = dict(max_epochs=max_epochs, dynamic_intervals=[(max_epochs - stage2_epochs, 1)])
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.0), **_base_.filters_without_decay)),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type='CosineAnnealingLR',
        eta_min=lr * 0.05,
        begin=max_epochs // 2,
        end=max_epochs,
        T_max=max_epochs // 2,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
custom_hooks = [
    _base_.custom_hooks[0],
    dict(
        type='PipelineSwitchHook',
        switch_epoch=max_epochs - stage2_epochs,
        switch_pipeline=_base_.train_pipeline_stage2,
    ),
]
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP', rule='greater'))
auto_scale_lr = dict(base_batch_size=128)
