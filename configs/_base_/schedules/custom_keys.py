# Parameter groups of HyenaFormer for recipes that name parameters (custom_keys) instead of layers. A config merges one
# of these into optim_wrapper.paramwise_cfg.custom_keys; the longest key that is part of a parameter's name counts.
filter_tensors = (
    'long_conv.skip',
    'long_conv.filter.position.table',
    'long_conv.window.delta',
    'long_conv.window.shift',
    '.frequency',
)
norms = (
    'norm1.weight',
    'norm2.weight',
    'gate_norm.weight',
    'out_norm.weight',
    'backbone.norm',
    'downsample_layers.0.norm',
    'downsample_layers.1.norm',
    'downsample_layers.2.norm',
    'downsample_layers.3.norm',
)
# Long filters have no weight decay.
filters_without_decay = {name: dict(decay_mult=0.0) for name in filter_tensors}
# As DETR and its descendants: a tenth of the head's rate, and no weight decay of norms and long filters.
backbone_at_a_tenth = {
    'backbone': dict(lr_mult=0.1),
    **{name: dict(lr_mult=0.1, decay_mult=0.0) for name in (*filter_tensors, *norms)},
}
