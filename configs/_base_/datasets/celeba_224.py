# CelebA with its 40 attributes at 224 x 224, augmented as DeiT augments ImageNet, images repeated three times included.
_base_ = './imagenet_224_bicubic.py'

dataset_type = 'mmhyena.CelebA'
data_root = 'data/celeba'
data_preprocessor = dict(num_classes=40)
train_dataloader = dict(
    batch_size=32,
    drop_last=True,
    sampler=dict(_delete_=True, type='RepeatAugSampler'),
    dataset=dict(type=dataset_type, data_root=data_root),
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='test'))
val_evaluator = [
    dict(type='mmhyena.AttributeAccuracy'),
    dict(type='AveragePrecision'),
    dict(type='MultiLabelMetric', average='macro', items=('precision', 'recall', 'f1-score')),
]
test_evaluator = val_evaluator
