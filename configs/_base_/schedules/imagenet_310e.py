# HyenaPixel's published schedule at 224 x 224: a cosine over 300 epochs whose first 20 are a linear warm-up, then 10
# epochs at its end value; the rate is constant within an epoch.
max_epochs = 310
lr = 4e-3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='mmhyena.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=1.0, official_decay=True),
)
param_scheduler = [
    dict(type='mmhyena.TimmCosineLR', T_max=300, eta_min=1e-5, warmup=20, warmup_lr=1e-6),
]
auto_scale_lr = dict(enable=False, base_batch_size=4096)
