# CIFAR-100 at 32 x 32; images come from the archive in RGB.
_base_ = './cifar10.py'

dataset_type = 'mmhyena.CIFAR100'
data_root = 'data/cifar100'
data_preprocessor = dict(num_classes=100, mean=[129.304, 124.07, 112.434], std=[68.17, 65.392, 70.418])
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
