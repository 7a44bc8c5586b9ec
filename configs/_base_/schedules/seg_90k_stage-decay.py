# 90k iterations of AdamW in mixed precision with learning rates that fall stage by stage, for a batch of 16.
_base_ = './seg_160k.py'

max_iters = 90000
train_cfg = dict(max_iters=max_iters, val_interval=9000)
optim_wrapper = dict(paramwise_cfg=dict(decay_type='stage_wise', decay_rate=0.9, num_layers=12))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=max_iters),
]
auto_scale_lr = dict(base_batch_size=16)
