"""The miniature trees are read by the toolkits' own data set classes, as the real data would be."""

import numpy as np
import pytest
from PIL import Image

import mmhyena  # noqa: F401  (puts the stand-in for mmcv's operators in place before mmdet looks for them)
from mmhyena.datasets.manifest import DatasetFolderError
from mmhyena.datasets.shapes import render_scene
from mmhyena.testing import TREES, write_tiny
from mmhyena.testing.dense import coco_category_ids, polygons

NUM = 3
SIZE = (64, 96)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    for toolkit in ('mmdet', 'mmseg', 'mmpretrain'):
        pytest.importorskip(toolkit)
    out = tmp_path_factory.mktemp('tiny')
    folders = write_tiny(out, NUM, size=SIZE)
    assert set(folders) == {*TREES, 'shapes'}
    return out


@pytest.mark.parametrize('split', ['train', 'val'])
def test_coco(data, split, capsys):
    from mmdet.datasets import CocoDataset
    from mmdet.registry import TRANSFORMS

    dataset = CocoDataset(
        data_root=str(data / 'coco'),
        ann_file=f'annotations/instances_{split}2017.json',
        data_prefix={'img': f'{split}2017/'},
        filter_cfg={'filter_empty_gt': True, 'min_size': 32},
        pipeline=[
            TRANSFORMS.build({'type': 'LoadImageFromFile'}),
            TRANSFORMS.build({'type': 'mmdet.LoadAnnotations', 'with_bbox': True, 'with_mask': True}),
        ],
    )
    assert len(dataset) == NUM
    assert dataset.cat_ids == coco_category_ids(80)
    for index in range(NUM):
        scene, sample = render_scene(index, split=split, size=SIZE), dataset[index]
        assert sample['img'].shape == (*SIZE, 3)
        assert len(sample['gt_bboxes']) == len(scene.labels)
        assert sample['gt_ignore_flags'].sum() == (index == 0)  # the crowd region
        assert sample['gt_bboxes_labels'].max() < 80


def test_coco_category_ids():
    ids = coco_category_ids(80)
    assert len(ids) == 80
    assert (ids[0], ids[11], ids[-1]) == (1, 13, 90)  # person, stop sign, toothbrush


def test_crowd_run_lengths_are_the_mask(data, capsys):
    from pycocotools.coco import COCO

    coco = COCO(str(data / 'coco/annotations/instances_train2017.json'))
    crowd = coco.loadAnns(coco.getAnnIds(iscrowd=True))
    assert len(crowd) == 1
    assert isinstance(crowd[0]['segmentation']['counts'], list)
    np.testing.assert_array_equal(coco.annToMask(crowd[0]), render_scene(0, size=SIZE).masks[-1])


def test_polygons_outline_the_mask_with_holes_filled():
    from pycocotools import mask as mask_api
    from scipy.ndimage import binary_fill_holes

    for index in range(20):
        for mask in render_scene(index, size=(96, 96)).masks:
            filled = binary_fill_holes(mask)
            outline = mask_api.decode(mask_api.merge(mask_api.frPyObjects(polygons(mask), *mask.shape))).astype(bool)
            assert (outline & filled).sum() / (outline | filled).sum() > 0.8


@pytest.mark.parametrize('split', ['training', 'validation'])
def test_ade20k(data, split):
    from mmseg.datasets import ADE20KDataset
    from mmseg.registry import TRANSFORMS

    dataset = ADE20KDataset(
        data_root=str(data / 'ade/ADEChallengeData2016'),
        data_prefix={'img_path': f'images/{split}', 'seg_map_path': f'annotations/{split}'},
        pipeline=[
            TRANSFORMS.build({'type': 'LoadImageFromFile'}),
            TRANSFORMS.build({'type': 'mmseg.LoadAnnotations', 'reduce_zero_label': True}),
        ],
    )
    assert len(dataset) == NUM
    for sample in dataset:
        labels = sample['gt_seg_map']
        assert labels.shape == SIZE
        assert (labels[:4] == 255).all()
        assert labels[4:].max() < 150


@pytest.mark.parametrize('split', ['train', 'val'])
def test_cityscapes(data, split):
    from mmseg.datasets import CityscapesDataset
    from mmseg.registry import TRANSFORMS

    dataset = CityscapesDataset(
        data_root=str(data / 'cityscapes'),
        data_prefix={'img_path': f'leftImg8bit/{split}', 'seg_map_path': f'gtFine/{split}'},
        pipeline=[
            TRANSFORMS.build({'type': 'LoadImageFromFile'}),
            TRANSFORMS.build({'type': 'mmseg.LoadAnnotations'}),
        ],
    )
    assert len(dataset) == NUM
    for index, sample in enumerate(dataset):
        labels, scene = sample['gt_seg_map'], render_scene(index, split=split, size=SIZE)
        assert (labels[-4:] == 255).all()
        assert labels[:-4].max() < 19
        for value in np.unique(scene.semantic[:-4]):  # one label per class of figures, wherever it is seen
            assert len(np.unique(labels[:-4][scene.semantic[:-4] == value])) == 1
        np.testing.assert_array_equal(sample['img'][..., ::-1], scene.image)  # png keeps every pixel


@pytest.mark.parametrize('split', ['train', 'val'])
def test_imagenet(data, split):
    from mmpretrain.datasets import ImageNet

    dataset = ImageNet(data_root=str(data / 'imagenet'), split=split)
    assert len(dataset) == NUM
    assert len(dataset.CLASSES) == 1000
    assert len(set(dataset.get_gt_labels())) == NUM
    for sample in dataset:
        folder = sample['img_path'].split('/')[-2]
        assert int(folder[1:]) == sample['gt_label']
        assert Image.open(sample['img_path']).mode == 'RGB'


def test_existing_data_is_kept_or_refused(data, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in data.rglob('*')}
    write_tiny(data, NUM, size=SIZE)
    assert before == {p: p.stat().st_mtime_ns for p in data.rglob('*')}
    with pytest.raises(DatasetFolderError, match=f'num {NUM} instead of 1'):
        write_tiny(data, 1, size=SIZE)
    (tmp_path / 'coco/train2017').mkdir(parents=True)
    (tmp_path / 'coco/train2017/000000000009.jpg').write_bytes(b'real')
    with pytest.raises(DatasetFolderError, match='holds no tiny coco'):
        write_tiny(tmp_path, 1, size=SIZE, force=True)
    assert (tmp_path / 'coco/train2017/000000000009.jpg').read_bytes() == b'real'


def test_interrupted_tree_is_written_afresh(tmp_path):
    pytest.importorskip('mmpretrain')

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tiny(tmp_path, 2, only=['celeba'], progress=stop)
    folder = write_tiny(tmp_path, 2, only=['celeba'])['celeba']
    assert len((folder / 'list_attr_celeba.txt').read_text().splitlines()) == 2 + 2 + 2 * 2
