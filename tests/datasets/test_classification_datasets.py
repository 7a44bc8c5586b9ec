"""Data set classes of mmhyena, found through the registry and read from miniature trees."""

import numpy as np
import pytest

from mmhyena.registry import DATASETS
from mmhyena.testing import write_tiny

pytest.importorskip('mmpretrain')
NUM = 7


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_tiny(
        tmp_path_factory.mktemp('tiny'), NUM, only=['cifar10', 'cifar100', 'tiny_imagenet', 'celeba'], seed=1
    )


def build(name, root, **arguments):
    return DATASETS.build({'type': f'mmhyena.{name}', 'data_root': str(root), **arguments})


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_celeba(data, split):
    dataset = build('CelebA', data['celeba'], split=split)
    assert len(dataset) == NUM
    assert len(dataset.CLASSES) == 40
    rows = [line.split() for line in (data['celeba'] / 'list_attr_celeba.txt').read_text().splitlines()[2:]]
    by_name = {row[0]: row[1:] for row in rows}
    for index, sample in enumerate(dataset):
        present = np.array(by_name[sample['img_path'].split('/')[-1]]) == '1'
        np.testing.assert_array_equal(sample['gt_score'], present)
        assert dataset.get_cat_ids(index) == np.flatnonzero(present).tolist()
    assert dataset.get_cat_ids(0) == []
    assert dataset.get_cat_ids(1)


def test_celeba_feeds_mmpretrains_multi_label_parts(data):
    import torch
    from mmpretrain.evaluation import MultiLabelMetric
    from mmpretrain.models.heads import MultiLabelLinearClsHead

    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'mmpretrain.PackInputs'}]
    dataset = build('CelebA', data['celeba'], split='val', pipeline=pipeline)
    samples = [dataset[i]['data_samples'] for i in range(3)]
    assert [s.gt_score.shape for s in samples] == [(40,)] * 3
    head = MultiLabelLinearClsHead(num_classes=40, in_channels=8)
    loss = head.loss((torch.randn(3, 8),), samples)['loss']
    assert torch.isfinite(loss)
    for sample in samples:
        sample.set_pred_score(sample.gt_score.float())
    metric = MultiLabelMetric(thr=0.5)
    metric.process(None, [s.to_dict() for s in samples])
    assert metric.evaluate(3)['multi-label/recall'] > 0


@pytest.mark.parametrize('split', ['train', 'val'])
def test_tiny_imagenet(data, split):
    dataset = build('TinyImageNet', data['tiny_imagenet'], split=split)
    assert len(dataset) == NUM
    assert len(dataset.CLASSES) == 200
    labels = dataset.get_gt_labels()
    assert len(set(labels)) == NUM
    if split == 'train':
        assert labels.tolist() == [int(s['img_path'].split('/')[-3][1:]) for s in dataset]
    else:
        lines = (data['tiny_imagenet'] / 'val/val_annotations.txt').read_text().splitlines()
        assert labels.tolist() == [int(line.split('\t')[1][1:]) for line in lines]


@pytest.mark.parametrize(('name', 'classes'), [('CIFAR10', 10), ('CIFAR100', 100)])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_cifar(data, name, classes, split):
    from mmhyena.datasets.shapes import render_single

    dataset = build(name, data[name.lower()], split=split)
    assert len(dataset) == NUM
    assert len(dataset.CLASSES) == classes
    assert dataset.get_gt_labels().max() < classes
    assert len(set(dataset.get_gt_labels())) == NUM
    for index in range(NUM):
        image = render_single(index, index % 5, seed=1, split={'test': 'val'}.get(split, split), size=(32, 32))
        np.testing.assert_array_equal(dataset[index]['img'], image)


def test_errors_name_the_culprit(data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'CIFAR10: .*data_batch_1 is missing; unpack'):
        build('CIFAR10', tmp_path)
    with pytest.raises(FileNotFoundError, match=r'CelebA: .*list_eval_partition.txt is missing'):
        build('CelebA', tmp_path)
    with pytest.raises(FileNotFoundError, match=r'TinyImageNet: .*wnids.txt is missing; unpack'):
        build('TinyImageNet', tmp_path)
    with pytest.raises(ValueError, match="split is 'all'; it must be one of train, val, test"):
        build('CelebA', data['celeba'], split='all')
    with pytest.raises(ValueError, match="split is 'test'; it must be one of train, val"):
        build('TinyImageNet', data['tiny_imagenet'], split='test')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('Smiling', 'Frowning', 'line 2 of .* does not name the 40 attributes'),
        ('000003.jpg', '900003.jpg', r'900003.jpg \(line 5 of .*\) is not in'),
        ('000002.jpg ', '000002.jpg 1 ', 'line 4 of .* has not 40 values'),
    ],
)
def test_malformed_celeba_lists(data, tmp_path, old, new, message):
    for name in ('list_attr_celeba.txt', 'list_eval_partition.txt'):
        text = (data['celeba'] / name).read_text()
        (tmp_path / name).write_text(text.replace(old, new) if 'attr' in name else text)
    with pytest.raises(ValueError, match=message):
        build('CelebA', tmp_path)
