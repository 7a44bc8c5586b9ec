_base_ = './default_runtime.py'

default_scope = 'mmdet'
default_hooks = dict(
    checkpoint=dict(save_best='coco/bbox_mAP', rule='greater'), visualization=dict(type='DetVisualizationHook')
)
# Masks let the object shine through.
visualizer = dict(type='DetLocalVisualizer', vis_backends=_base_.vis_backends, alpha=0.45)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
tta_model = dict(
    type='mmhyena.InstanceTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
