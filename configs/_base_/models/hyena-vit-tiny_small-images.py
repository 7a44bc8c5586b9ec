# Hyena N-D in DeiT-Tiny for images of 32 x 32; the data set's config names the number of classes.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmhyena.HyenaViT',
        arch='deit_tiny',
        img_size=32,
        patch_size=4,
        hyena=dict(type='HyenaND', filter='joint', direction='alternating'),
        drop_path_rate=0.1,
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
