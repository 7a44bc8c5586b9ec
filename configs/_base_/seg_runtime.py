_base_ = './default_runtime.py'

default_scope = 'mmseg'
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=16000, save_best='mIoU', rule='greater'),
    logger=dict(log_metric_by_epoch=False),
    visualization=dict(type='SegVisualizationHook'),
)
visualizer = dict(type='SegLocalVisualizer', vis_backends=_base_.vis_backends)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)
tta_model = dict(type='SegTTAModel')
