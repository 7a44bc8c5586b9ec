# 80k iterations of AdamW in mixed precision with layer-wise learning rates, for a batch of 16.
_base_ = './seg_160k.py'

max_iters = 80000
train_cfg = dict(max_iters=max_iters, val_interval=8000)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=max_iters),
]
