_base_ = './default_runtime.py'

default_scope = 'mmpretrain'
default_hooks = dict(
    checkpoint=dict(save_best='auto', rule='greater'),  # the first metric that is reported
    visualization=dict(type='VisualizationHook', enable=False),
)
visualizer = dict(type='UniversalVisualizer', vis_backends=_base_.vis_backends)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
tta_model = dict(type='AverageClsScoreTTA')
