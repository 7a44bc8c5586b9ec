"""Hyena N-D with three axes: classify generated volumes of 16 x 16 x 16 voxels by the solid in them.

Reproduces: nothing published; no other code runs Hyena N-D on volumes.
Expected: top-1 86.2, measured here (seed 0); guessing gives 20.
Hardware: CPU, a minute on one core.
Command: python tools/train.py configs/hyena_nd/volumes/hyena-volume_solids-16.py
"""

_base_ = ['../../_base_/schedules/shapes_16e.py', '../../_base_/cls_runtime.py']
max_epochs = 4
randomness = dict(seed=0)
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(),
    backbone=dict(type='mmhyena.HyenaVolume', embed_dims=48, num_layers=3, ndim=3, img_size=16, patch_size=4),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=48),
)
train_dataloader = dict(
    batch_size=25,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmhyena.SolidVolumes', num_samples=4000, size=16, seed=0),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmhyena.SolidVolumes', num_samples=500, size=16, seed=1),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
