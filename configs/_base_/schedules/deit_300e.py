# DeiT's schedule (arXiv 2012.12877, table 9) for a batch of 1024: a cosine over 300 epochs whose first 5 are a linear
# warm-up. Its code steps the rate with the index of the epoch just finished, so the first epoch's rate serves twice.
max_epochs = 300
lr = 1e-3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='mmhyena.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=1.0),
)
param_scheduler = [
    dict(type='mmhyena.TimmCosineLR', T_max=max_epochs, eta_min=1e-5, warmup=5, warmup_lr=1e-6, lag=1),
]
auto_scale_lr = dict(enable=False, base_batch_size=1024)
