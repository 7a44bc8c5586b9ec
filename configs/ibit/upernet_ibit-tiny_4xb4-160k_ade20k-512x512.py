"""UperNet with IBiT-Ti on ADE20K, crops of 512 x 512, 160k iterations; maps of four blocks, rescaled.

Reproduces: nothing published; no result of IBiT on ADE20K exists.
Expected: mIoU not published.
Weights: from scratch; --cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE
model.backbone.attention.type=LearnedMaskAttention model.backbone.attention.roll=official starts from the official
weights or from a checkpoint of ibit-tiny_8xb128_in1k.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh configs/ibit/upernet_ibit-tiny_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = [
    '../_base_/models/upernet.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/seg_160k.py',
    '../_base_/seg_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmhyena.HyenaViT',
        arch='ibit_tiny',
        out_indices=(2, 5, 8, 11),
        out_type='featmap',
        drop_path_rate=0.1,
    ),
    neck=dict(type='Feature2Pyramid', embed_dim=192, rescales=[4, 2, 1, 0.5]),
    decode_head=dict(in_channels=[192] * 4),
    auxiliary_head=dict(in_channels=192),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
