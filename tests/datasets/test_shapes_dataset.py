"""The Shapes tree: formats agree with one another and with the scenes, and the folder is handled with care."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import mmhyena  # noqa: F401  (puts the stand-in for mmcv's operators in place before mmdet looks for them)
from mmhyena.datasets.manifest import MANIFEST, DatasetFolderError
from mmhyena.datasets.shapes import CLASSES, SEG_CLASSES, SEG_PALETTE, generate_shapes, render_scene

TRAIN, VAL, SIZE, SEED = 6, 3, (96, 128), 5


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'shapes'
    assert generate_shapes(out, train=TRAIN, val=VAL, size=SIZE, seed=SEED)
    return out


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob('*')) if p.is_file()}


def test_same_seed_same_bytes(tree, tmp_path):
    generate_shapes(tmp_path / 'again', train=TRAIN, val=VAL, size=SIZE, seed=SEED)
    assert contents(tree) == contents(tmp_path / 'again')
    generate_shapes(tmp_path / 'other', train=TRAIN, val=VAL, size=SIZE, seed=SEED + 1)
    other = contents(tmp_path / 'other')
    assert other.keys() == contents(tree).keys()
    assert other['train/000000.jpg'] != contents(tree)['train/000000.jpg']


def test_more_images_leave_the_first_ones_alone(tree, tmp_path):
    generate_shapes(tmp_path / 'more', train=TRAIN + 2, val=VAL, size=SIZE, seed=SEED)
    more = contents(tmp_path / 'more')
    for name, content in contents(tree).items():
        if not name.endswith('.json'):
            assert more[name] == content, name


@pytest.mark.parametrize(('split', 'count'), [('train', TRAIN), ('val', VAL)])
def test_coco_masks_boxes_and_areas_are_those_of_the_scenes(tree, split, count, capsys):
    from pycocotools.coco import COCO

    coco = COCO(str(tree / f'annotations/instances_{split}.json'))
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert len(coco.getImgIds()) == count
    for index, image_id in enumerate(coco.getImgIds()):
        scene = render_scene(index, seed=SEED, split=split, size=SIZE)
        info = coco.loadImgs(image_id)[0]
        assert Image.open(tree / split / info['file_name']).size == (info['width'], info['height']) == SIZE[::-1]
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        assert [a['category_id'] - 1 for a in annotations] == scene.labels.tolist()
        for annotation, mask in zip(annotations, scene.masks, strict=True):
            np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            assert annotation['bbox'] == box
            assert annotation['area'] == mask.sum()
            assert annotation['iscrowd'] == 0


def test_images_are_the_scenes(tree):
    scene = render_scene(2, seed=SEED, split='train', size=SIZE)
    stored = np.asarray(Image.open(tree / 'train/000002.jpg'), dtype=int)
    assert np.abs(stored - scene.image).mean() < 3


def test_label_maps_agree_with_coco(tree, capsys):
    from pycocotools.coco import COCO

    coco = COCO(str(tree / 'annotations/instances_val.json'))
    for image_id in coco.getImgIds():
        expected = np.ones(SIZE, int)
        for annotation in coco.loadAnns(coco.getAnnIds(image_id)):
            expected[coco.annToMask(annotation).astype(bool)] = annotation['category_id'] + 1
        name = coco.loadImgs(image_id)[0]['file_name'].replace('.jpg', '.png')
        np.testing.assert_array_equal(np.asarray(Image.open(tree / 'annotations/validation' / name)), expected)


def test_ade_images_are_not_stored_twice(tree):
    for ours, ade in (('train', 'training'), ('val', 'validation')):
        for path in (tree / ours).iterdir():
            assert path.samefile(tree / 'images' / ade / path.name)


def test_mmdet_reads_it(tree):
    datasets = pytest.importorskip('mmdet.datasets')
    from mmdet.registry import TRANSFORMS

    dataset = datasets.CocoDataset(
        data_root=str(tree),
        ann_file='annotations/instances_train.json',
        data_prefix={'img': 'train/'},
        metainfo={'classes': CLASSES},
        filter_cfg={'filter_empty_gt': True, 'min_size': 32},
        pipeline=[
            TRANSFORMS.build({'type': 'LoadImageFromFile'}),
            TRANSFORMS.build({'type': 'mmdet.LoadAnnotations', 'with_bbox': True, 'with_mask': True}),
        ],
    )
    assert len(dataset) == TRAIN
    for index in range(TRAIN):
        scene, sample = render_scene(index, seed=SEED, size=SIZE), dataset[index]
        assert sample['img'].shape == (*SIZE, 3)
        np.testing.assert_array_equal(sample['gt_bboxes_labels'], scene.labels)
        np.testing.assert_array_equal(sample['gt_masks'].masks.astype(bool), scene.masks)


def test_mmseg_reads_it(tree):
    datasets = pytest.importorskip('mmseg.datasets')
    from mmseg.registry import TRANSFORMS

    dataset = datasets.BaseSegDataset(
        data_root=str(tree),
        data_prefix={'img_path': 'images/training', 'seg_map_path': 'annotations/training'},
        metainfo={'classes': SEG_CLASSES, 'palette': SEG_PALETTE},
        img_suffix='.jpg',
        seg_map_suffix='.png',
        reduce_zero_label=True,
        pipeline=[
            TRANSFORMS.build({'type': 'LoadImageFromFile'}),
            TRANSFORMS.build({'type': 'mmseg.LoadAnnotations', 'reduce_zero_label': True}),
        ],
    )
    assert len(dataset) == TRAIN
    scene = render_scene(1, seed=SEED, size=SIZE)
    np.testing.assert_array_equal(dataset[1]['gt_seg_map'], scene.semantic)


def test_mmpretrain_reads_it(tree):
    datasets = pytest.importorskip('mmpretrain.datasets')
    dataset = datasets.CustomDataset(data_root=str(tree / 'classification'), data_prefix='train')
    assert dataset.CLASSES == CLASSES
    assert len(dataset) == TRAIN
    assert sorted(dataset.get_gt_labels()) == [0, 0, 1, 2, 3, 4]


def test_complete_tree_is_kept(tree):
    before = {p: p.stat().st_mtime_ns for p in tree.rglob('*')}
    assert not generate_shapes(tree, train=TRAIN, val=VAL, size=SIZE, seed=SEED)
    assert before == {p: p.stat().st_mtime_ns for p in tree.rglob('*')}


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / 'copy')


def test_lost_file_is_noticed(tree, copy):
    (copy / 'annotations/training/000003.png').unlink()
    assert generate_shapes(copy, train=TRAIN, val=VAL, size=SIZE, seed=SEED)
    assert contents(copy) == contents(tree)


def test_interrupted_run_is_done_again(tree, tmp_path):
    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    arguments = {'train': TRAIN, 'val': VAL, 'size': SIZE, 'seed': SEED}
    with pytest.raises(KeyboardInterrupt):
        generate_shapes(tmp_path, **arguments, progress=stop)
    assert not json.loads((tmp_path / MANIFEST).read_text())['complete']
    assert generate_shapes(tmp_path, **arguments)
    assert contents(tmp_path) == contents(tree)


def test_progress_reaches_the_end(tmp_path):
    calls = []
    generate_shapes(tmp_path / 's', train=2, val=1, size=64, progress=lambda *call: calls.append(call))
    assert calls == [(i + 1, 6) for i in range(6)]


def test_other_parameters_need_force(copy):
    before = contents(copy)
    with pytest.raises(DatasetFolderError, match=r'train 6 instead of 2.*--force'):
        generate_shapes(copy, train=2, val=VAL, size=SIZE, seed=SEED)
    assert contents(copy) == before
    (copy / 'notes.txt').write_text('mine')
    assert generate_shapes(copy, train=2, val=VAL, size=SIZE, seed=SEED, force=True)
    assert len(list((copy / 'train').iterdir())) == 2
    assert (copy / 'notes.txt').read_text() == 'mine'


@pytest.mark.parametrize('manifest', [None, 'not json', '[]', '{"dataset": "tiny coco"}', '{"dataset": "Shapes"}'])
def test_foreign_folder_is_never_touched(tmp_path, manifest):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train/photo.jpg').write_bytes(b'mine')
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)
    before = contents(tmp_path)
    with pytest.raises(DatasetFolderError, match='name another folder'):
        generate_shapes(tmp_path, train=1, val=1, size=64, force=True)
    assert contents(tmp_path) == before


def test_bad_parameters_leave_no_trace(tmp_path):
    for bad in ({'size': 16}, {'train': -1}, {'seed': -2}, {'cls_size': 8}):
        with pytest.raises(ValueError, match=r'must'):
            generate_shapes(tmp_path / 's', **bad)
    assert not (tmp_path / 's').exists()
