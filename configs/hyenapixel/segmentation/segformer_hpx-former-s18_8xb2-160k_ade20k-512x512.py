r"""SegFormer's head on hpx_former_s18 on ADE20K, crops of 512 x 512, 160k iterations.

Derived: the recipe of mmseg's SegFormer (arXiv 2105.15203) with a HyenaPixel backbone.
Expected: mIoU not published and not measured.
Weights: the backbone starts from checkpoints/hpx_former_s18.pth.
Hardware: 8 GPUs x 2 images.
Command: tools/dist_train.sh \
    configs/hyenapixel/segmentation/segformer_hpx-former-s18_8xb2-160k_ade20k-512x512.py 8
"""

_base_ = [
    '../../_base_/models/segformer.py',
    '../../_base_/datasets/ade20k_512x512.py',
    '../../_base_/schedules/segformer_160k.py',
    '../../_base_/schedules/custom_keys.py',
    '../../_base_/seg_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaFormer',
        arch='hpx_former_s18',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
    ),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
)
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.filters_without_decay))
