# As the other 7 epochs, at a rate for transformers from scratch.
_base_ = './shapes_7e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=0.1))
