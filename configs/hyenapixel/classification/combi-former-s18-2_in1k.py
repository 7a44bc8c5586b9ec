"""Ensemble of convformer_s18 and hpx_former_s18 on ImageNet-1k at 224 x 224: the mean of their logits.

Reproduces: the ensemble that the official code calls combi_former_s18_2.
Expected: top-1 not published.
Weights: checkpoints/hpx_former_s18.pth, official or converted, and checkpoints/convformer_s18.pth, timm's
convformer_s18.sail_in1k.
Hardware: 1 GPU x 128 images to evaluate.
Command: python tools/test.py configs/hyenapixel/classification/combi-former-s18-2_in1k.py
"""

_base_ = './hpx-former-s18_8xb512_in1k.py'

hpx_former_s18 = dict(
    type='ImageClassifier',
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_s18', out_indices=(3,), gap_before_final_norm=True),
    head=dict(type='mmhyena.MetaFormerClsHead', num_classes=1000, in_channels=512),
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/hpx_former_s18.pth'),
)
convformer_s18 = dict(
    type='TimmClassifier',
    model_name='convformer_s18',
    num_classes=1000,
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/convformer_s18.pth'),
)
model = dict(
    _delete_=True,
    type='mmhyena.EnsembleClassifier',
    members=[convformer_s18, hpx_former_s18],
)
