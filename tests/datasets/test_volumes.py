"""Generated volumes: repeatable, whole, each solid with its own shape."""

import numpy as np
import pytest
import torch

from mmhyena.registry import DATASETS

pytest.importorskip('mmpretrain')


def volumes(num_samples=10, **kwargs):
    return DATASETS.build(dict(type='mmhyena.SolidVolumes', num_samples=num_samples, **kwargs))


def test_volumes_repeat_and_differ_by_seed():
    first, again, other = volumes(), volumes(), volumes(seed=1)
    for i in range(10):
        assert torch.equal(first[i]['inputs'], again[i]['inputs'])
        assert not torch.equal(first[i]['inputs'], other[i]['inputs'])
        assert first[i]['inputs'].shape == (1, 16, 16, 16) and first[i]['inputs'].dtype == torch.float32
    assert [first[i]['data_samples'].gt_label.item() for i in range(10)] == [0, 1, 2, 3, 4] * 2
    with pytest.raises(IndexError):
        first[10]


def test_every_solid_is_whole_and_has_its_own_shape():
    shown = volumes(100, size=24, noise=0.0)
    filled = {name: [] for name in shown.metainfo['classes']}
    for i in range(100):
        solid = shown[i]['inputs'][0].numpy() > 0
        faces = [solid.take(side, axis).any() for axis in range(3) for side in (0, -1)]
        assert solid.any() and sum(faces) <= 1
        box = np.argwhere(solid)
        filled[list(filled)[i % 5]].append(solid.sum() / np.prod(np.ptp(box, axis=0) + 1))
    means = {name: np.mean(values) for name, values in filled.items()}
    assert means['ball'] > means['shell'] and means['cube'] > means['cross'] and means['ball'] > means['rod']


def test_bad_volumes_are_named():
    with pytest.raises(ValueError, match='num_samples must be at least 1'):
        volumes(0)
    with pytest.raises(ValueError, match='size must be at least 8'):
        volumes(5, size=4)
