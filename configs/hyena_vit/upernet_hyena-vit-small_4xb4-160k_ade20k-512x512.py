"""UperNet with DeiT-Small with Hyena N-D on ADE20K, crops of 512 x 512, 160k iterations; maps of four blocks, rescaled.

Reproduces: nothing published; no result of Hyena N-D on ADE20K exists.
Expected: mIoU not published.
Weights: from scratch, since there are none; --cfg-options model.backbone.init_cfg.type=Pretrained
model.backbone.init_cfg.prefix=backbone. model.backbone.init_cfg.checkpoint=FILE starts from a checkpoint of
hyena-vit-small_8xb128_in1k.
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh configs/hyena_vit/upernet_hyena-vit-small_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = './upernet_hyena-vit-tiny_4xb4-160k_ade20k-512x512.py'
model = dict(
    backbone=dict(arch='deit_small'),
    neck=dict(embed_dim=384),
    decode_head=dict(in_channels=[384] * 4),
    auxiliary_head=dict(in_channels=384),
)
