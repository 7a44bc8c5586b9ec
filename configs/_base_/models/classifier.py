# Image classifier of the MetaFormer kind. The config that inherits this sets model.backbone and model.head.in_channels.
model = dict(
    type='ImageClassifier',
    backbone=dict(),
    neck=None,
    head=dict(
        type='mmhyena.MetaFormerClsHead',
        num_classes=1000,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
