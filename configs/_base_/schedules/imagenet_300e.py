# Swin's schedule at 224 x 224: 20 epochs of warm-up, then a cosine to epoch 300, for a batch of 1024.
_base_ = './imagenet_310e.py'

max_epochs = 300
lr = 1e-3
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(official_decay=False),
    clip_grad=dict(max_norm=5.0, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=20, end=max_epochs),
]
auto_scale_lr = dict(base_batch_size=1024)
