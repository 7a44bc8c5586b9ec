# Swin's schedule at 224 x 224 for a batch of 1024: 20 epochs of warm-up, then a cosine to epoch 300, stepped every
# iteration.
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
    dict(
        type='mmhyena.TimmCosineLR',
        T_max=max_epochs - 20,
        eta_min=1e-5,
        warmup=20,
        warmup_lr=1e-6,
        warmup_prefix=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=1024)
