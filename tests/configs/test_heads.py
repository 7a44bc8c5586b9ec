"""Modern heads on a tiny backbone: each is built from its Shapes config, takes one step and predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.structures import PixelData
from PIL import Image

from mmhyena.apis.toolkits import use_toolkit
from mmhyena.datasets.shapes import CLASSES, generate_shapes

ROOT = Path(__file__).parents[2]
SIZE = 96
# Config, and what a prediction consists of.
HEADS = {
    'dino-4scale_hpx-former-tiny_shapes': ('pred_instances', {'bboxes', 'labels', 'scores'}),
    'rtmdet-ins_hpx-former-tiny_shapes': ('pred_instances', {'bboxes', 'labels', 'masks', 'scores'}),
    'mask2former_hpx-former-tiny_shapes': ('pred_instances', {'bboxes', 'labels', 'masks', 'scores'}),
    'mask2former_hpx-former-tiny_shapes-panoptic': ('pred_panoptic_seg', {'sem_seg'}),
    'mask2former_hpx-former-tiny_shapes-semantic': ('pred_sem_seg', {'data'}),
    'segformer_hpx-former-tiny_shapes': ('pred_sem_seg', {'data'}),
}


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('heads') / 'shapes'
    generate_shapes(root, train=2, val=2, size=SIZE, cls_train=0, cls_val=0)
    return root


def load(name: str, shapes: Path) -> Config:
    """Return a Shapes config that reads two images from ``shapes``."""
    cfg = Config.fromfile(ROOT / f'configs/shapes/{name}.py')
    for split in ('train', 'val'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = f'{shapes}/'
    use_toolkit(cfg)
    return cfg


def without_panopticapi(cfg: Config) -> None:
    """Read instances alone, whose annotations need no panopticapi."""
    instances = Config.fromfile(ROOT / 'configs/shapes/mask2former_hpx-former-tiny_shapes.py')
    for split in ('train', 'val'):
        root = cfg[f'{split}_dataloader'].dataset.data_root
        cfg[f'{split}_dataloader'].dataset = instances[f'{split}_dataloader'].dataset
        cfg[f'{split}_dataloader'].dataset.data_root = root


def add_stuff(batch: dict) -> None:
    """Give each sample the map that LoadPanopticAnnotations makes: classes of things, then the background."""
    for sample in batch['data_samples']:
        label_map = torch.full(sample.img_shape, len(CLASSES))
        for mask, label in zip(sample.gt_instances.masks.masks, sample.gt_instances.labels):
            label_map[torch.from_numpy(mask).bool()] = label
        sample.gt_sem_seg = PixelData(sem_seg=label_map[None])


@pytest.mark.parametrize('name', HEADS)
def test_head_is_built_takes_a_step_and_predicts(name, shapes, add_row):
    torch.manual_seed(0)
    cfg = load(name, shapes)
    if panoptic := name.endswith('panoptic'):
        without_panopticapi(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()

    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    if panoptic:
        add_stuff(batch)
    before = {key: value.clone() for key, value in model.named_parameters()}
    losses = model.train().train_step(batch, build_optim_wrapper(model, cfg.optim_wrapper))
    assert all(torch.isfinite(value) for value in losses.values())
    moved = [key for key, value in model.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) > 0.9 * len(before)
    assert {key.split('.')[0] for key in moved} == {key.split('.')[0] for key in before}

    images = next(iter(Runner.build_dataloader(cfg.val_dataloader, seed=0)))
    with torch.no_grad():
        samples = model.eval().test_step(images)
    kind, fields = HEADS[name]
    for sample in samples:
        prediction = getattr(sample, kind)
        assert fields <= set(prediction.keys())
        if kind != 'pred_instances':
            assert getattr(prediction, next(iter(fields))).shape[-2:] == sample.ori_shape
        elif len(prediction):
            assert prediction.labels.max() < len(CLASSES)
            assert prediction.scores.min() >= 0 and prediction.scores.max() <= 1
    parameters = sum(parameter.numel() for parameter in model.parameters())
    add_row(
        'Heads on Shapes',
        config=name,
        built=f'{parameters / 1e6:.2f}M parameters',
        one_step=f'loss {float(losses["loss"].detach()):.3g}',
        predicted=f'{kind} of {len(samples)} images',
    )


def test_panoptic_files_agree_with_instances_and_label_maps(shapes):
    import json

    panoptic = json.loads((shapes / 'annotations/panoptic_val.json').read_text())
    instances = json.loads((shapes / 'annotations/instances_val.json').read_text())['annotations']
    stuff = next(category['id'] for category in panoptic['categories'] if not category['isthing'])
    for entry in panoptic['annotations']:
        ids = np.asarray(Image.open(shapes / 'annotations/panoptic_val' / entry['file_name'])).astype(int)
        ids = ids @ [1, 256, 65536]
        label_map = np.asarray(Image.open(shapes / 'annotations/validation' / entry['file_name']))
        segments = {segment['id']: segment for segment in entry['segments_info']}
        assert set(np.unique(ids)) == set(segments)
        own = [annotation for annotation in instances if annotation['image_id'] == entry['image_id']]
        assert len(segments) == len(own) + 1
        for number, segment in segments.items():
            assert segment['area'] == (ids == number).sum()
            (label,) = np.unique(label_map[ids == number])  # 1 is the background, class i is i + 2
            assert label == (1 if segment['category_id'] == stuff else segment['category_id'] + 1)
            x, y, width, height = map(int, segment['bbox'])
            rows, columns = np.nonzero(ids == number)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x, y, x + width, y + height)


def test_panoptic_config_reads_the_same_segments(shapes):
    pytest.importorskip('panopticapi')
    from mmengine.registry import DATASETS

    cfg = load('mask2former_hpx-former-tiny_shapes-panoptic', shapes)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    sample = dataset[0]['data_samples']
    assert set(sample.gt_sem_seg.sem_seg.unique().tolist()) <= {*range(len(CLASSES) + 1)}
    assert len(sample.gt_instances) == len(dataset.get_data_info(0)['segments_info']) - 1


@pytest.mark.parametrize('arch', ['hpx', 'hb'])
@pytest.mark.parametrize('recipe', ['detection/dino-4scale_{}-former-s18_8xb2-12e_coco'])
def test_backbone_learns_at_a_tenth_without_decay_of_norms_and_filters(arch, recipe):
    cfg = Config.fromfile(ROOT / f'configs/hyenapixel/{recipe.format(arch)}.py')
    use_toolkit(cfg)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {parameter: name for name, parameter in model.named_parameters()}
    lr, decay = cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay
    without = set()
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            name = names[parameter]
            assert group['lr'] == pytest.approx(0.1 * lr if name.startswith('backbone.') else lr), name
            if group['weight_decay'] == 0:
                without.add(name)
            else:
                assert group['weight_decay'] == pytest.approx(decay)
    parts = ('norm', 'long_conv.skip', 'position.table', 'window', 'frequency')
    assert without == {
        name for name in names.values() if name.startswith('backbone.') and any(part in name for part in parts)
    }
