"""Pictures of what the pipelines feed: one per image, the size the model sees, annotations in their place."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmhyena.testing import write_tiny

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    'coco': ('detection/mask-rcnn_hpx-former-s18_fpn_1x_coco.py', 'coco/'),
    'ade20k': ('segmentation/upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.py', 'ade/ADEChallengeData2016'),
    'imagenet': ('classification/hpx-former-s18_8xb512_in1k.py', 'imagenet'),
}
NUM = 3


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data')
    write_tiny(root, num=NUM, only=list(CONFIGS))
    return root


@pytest.fixture(scope='module')
def main():
    path = ROOT / 'tools/analysis_tools/browse_dataset.py'
    spec = importlib.util.spec_from_file_location('browse_dataset', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize('tree', CONFIGS)
def test_pictures_of_every_task(tree, tiny, main, tmp_path):
    name, folder = CONFIGS[tree]
    arguments = [str(ROOT / 'configs/hyenapixel' / name), '--split', 'val', '--num', '2', '--out-dir', str(tmp_path)]
    assert main([*arguments, '--cfg-options', f'val_dataloader.dataset.data_root={tiny / folder}/']) == 0
    pictures = sorted(tmp_path.glob('0*.png'))
    assert len(pictures) == 2
    assert (tmp_path / 'sheet.png').is_file()
    if tree == 'imagenet':
        assert Image.open(pictures[0]).size == (448, 448 + 18)  # 224 pixels twice, and a caption


def test_image_without_annotation_comes_back_unchanged(tiny):
    """Normalisation and channel order are undone: the pixels are those of the pipeline's crop."""
    from mmengine.config import Config

    from mmhyena.analysis.browse import browse

    cfg = Config.fromfile(ROOT / 'configs/hyenapixel' / CONFIGS['imagenet'][0])
    cfg.val_dataloader.dataset.data_root = str(tiny / 'imagenet')
    _, picture = next(browse(cfg, 'val', num=1, min_side=1))
    file = sorted((tiny / 'imagenet/val').glob('*/*_00000001.JPEG'))[0]
    image = Image.open(file).convert('RGB')
    height, width = 224, int(224 * image.width / image.height)
    left = round((width - 224) / 2)
    expected = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, 0, left + 224, 224))
    np.testing.assert_array_equal(picture[18:], np.asarray(expected))


def test_labels_of_the_file_follow_the_image():
    """Test pipelines resize and pad the image alone."""
    from mmhyena.analysis.browse import place_labels

    labels = torch.tensor([[[1, 2], [3, 255]]], dtype=torch.uint8)
    placed = place_labels(labels, (4, 6), (5, 8))
    expected = torch.full((1, 5, 8), 255, dtype=torch.uint8)
    expected[:, :2, :3], expected[:, :2, 3:6], expected[:, 2:4, :3] = 1, 2, 3
    assert torch.equal(placed, expected)
    assert place_labels(placed, (4, 6), (5, 8)) is placed


@pytest.mark.parametrize('original', [True, False])
def test_instances_of_the_file_follow_the_image(original):
    pytest.importorskip('mmdet')
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    from mmhyena.analysis.browse import place_instances

    height, width = (2, 4) if original else (4, 12)
    masks = np.zeros((1, height, width), np.uint8)
    masks[:, : height // 2, : width // 2] = 1
    sample = DetDataSample(metainfo={'scale_factor': (3.0, 2.0), 'img_shape': (4, 12)})
    box = torch.tensor([[0.0, 0.0, width / 2, height / 2]])
    sample.gt_instances = InstanceData(bboxes=box, masks=BitmapMasks(masks, height, width))
    placed = place_instances(sample, (8, 16), original, factor=2)
    assert placed.bboxes.tolist() == [[0, 0, 12, 4]]
    assert placed.masks.shape == (1, 16, 32)
    assert placed.masks[0, :4, :12].all() and placed.masks.sum() == 4 * 12


def test_contact_sheet_keeps_proportions():
    from mmhyena.analysis.browse import contact_sheet

    pictures = [
        np.full((40, 80, 3), 10, np.uint8),
        np.full((80, 80, 3), 20, np.uint8),
        np.full((20, 80, 3), 30, np.uint8),
    ]
    sheet = contact_sheet(pictures, width=80, columns=2)
    assert sheet.shape == (80 + 20, 160, 3)
    assert (sheet[:40, :80] == 10).all() and (sheet[:80, 80:] == 20).all() and (sheet[80:, :80] == 30).all()


@pytest.mark.parametrize(
    'arguments, culprit',
    [(['missing.py'], 'missing.py does not exist'), (['{config}', '--num', '0'], '--num 0')],
)
def test_wrong_input_gets_one_line(arguments, culprit, main, capsys, tmp_path):
    config = str(ROOT / 'configs/hyenapixel' / CONFIGS['imagenet'][0])
    assert main([word.format(config=config) for word in arguments] + ['--out-dir', str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and culprit in error and error.count('\n') == 1
