"""UperNet with ConvFormer-S18 on ADE20K under the recipe of upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.

Reproduces: nothing published; a peer for comparison, where only the backbone differs.
Expected: mIoU not published for this recipe, not measured here.
Weights: timm's convformer_s18.sail_in1k from the hub, ImageNet-1k (arXiv 2210.13452).
Hardware: 4 GPUs x 4 images.
Command: tools/dist_train.sh configs/peers/segmentation/upernet_convformer-s18_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = '../../hyenapixel/segmentation/upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmhyena.TimmBackbone',
        model_name='convformer_s18',
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='hf://timm/convformer_s18.sail_in1k'),
    ),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
    auxiliary_head=dict(in_channels=320),
)
