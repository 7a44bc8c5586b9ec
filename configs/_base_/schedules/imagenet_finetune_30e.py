# The published fine-tuning schedule at 384 x 384: 30 epochs at a constant rate, with a moving average of the weights.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='mmhyena.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=1.0, official_decay=True),
)
param_scheduler = []
custom_hooks = [
    dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL'),  # decay 0.9999
    dict(type='mmhyena.OfficialCheckpointHook'),
]
auto_scale_lr = dict(enable=False, base_batch_size=1024)
