"""Pictures of what a model is fed: a config's own loader and preprocessor, with the annotations drawn in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, VISUALIZERS
from mmengine.runner import Runner, set_random_seed
from mmengine.structures import PixelData
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from mmhyena.apis.checks.building import config_errors
from mmhyena.apis.checks.data import check_data
from mmhyena.apis.checks.pipelines import with_named_files
from mmhyena.apis.checks.values import check_model
from mmhyena.apis.toolkits import use_toolkit
from mmhyena.errors import UserError

__all__ = ['browse', 'contact_sheet', 'place_instances', 'place_labels']

_SHOWN_LABELS = 4
_CAPTION_HEIGHT = 18


def browse(cfg: Config, split: str = 'train', num: int = 16, seed: int = 0, min_side: int = 320) -> Iterator[Any]:
    """Yield the name and the picture of ``num`` images as the model gets them: resized, cropped, padded, mixed.

    Args:
        cfg: A config of any of the three toolkits.
        split: 'train', 'val' or 'test'.
        num: Number of images; fewer come if the split has fewer.
        seed: Seed of the order and of the augmentation.
        min_side: Smaller images are enlarged by a whole factor, so that lines and letters stay legible.

    Yields:
        File name without suffix, and a picture, RGB (H, W, 3), uint8.

    Raises:
        UserError: If the config has no such split, or its data is not there.
    """
    toolkit = use_toolkit(cfg)
    check_model(cfg)
    if cfg.get(f'{split}_dataloader') is None:
        raise UserError(f'config {cfg.filename} has no {split}_dataloader')
    check_data(cfg, (split,), evaluated=False)
    loader_cfg = with_named_files(cfg[f'{split}_dataloader'], split)
    batch_size = min(loader_cfg.get('batch_size', 1), num)
    loader_cfg.update(batch_size=batch_size, num_workers=0, persistent_workers=False)
    with config_errors(cfg, split):
        loader = Runner.build_dataloader(loader_cfg, seed=seed)
        preprocessor = _build_preprocessor(cfg)
    draw = _DRAWERS[toolkit.task](cfg, split, loader.dataset.metainfo)
    set_random_seed(seed)
    count = min(num, len(loader.dataset))
    for batch in itertools.islice(loader, -(-count // batch_size)):
        fed = preprocessor(batch, training=split == 'train')
        for tensor, sample in zip(fed['inputs'][:count], fed['data_samples']):
            image = _to_rgb(tensor, preprocessor)
            factor = max(1, -(-min_side // min(image.shape[:2])))
            yield Path(sample.get('img_path', '') or 'image').stem, draw(image, sample, factor)
        count -= len(fed['inputs'])


def contact_sheet(pictures: list[np.ndarray], width: int = 320, columns: int = 4) -> np.ndarray:
    """Put pictures, RGB (H, W, 3), in a grid of cells ``width`` wide; the cells of a row have one height."""
    cells = [Image.fromarray(p).resize((width, round(p.shape[0] * width / p.shape[1]))) for p in pictures]
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new('RGB', (width * min(columns, len(cells)), sum(heights)), 'white')
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            sheet.paste(cell, (j * width, sum(heights[:i])))
    return np.asarray(sheet)


def _build_preprocessor(cfg: Config) -> nn.Module:
    """Build the model's data preprocessor; for classifiers with the batch augmentation (mixup, cutmix)."""
    settings = cfg.model.get('data_preprocessor') or {'type': 'ClsDataPreprocessor', **cfg.get('data_preprocessor', {})}
    if cfg.default_scope == 'mmpretrain':
        settings = {'batch_augments': cfg.model.get('train_cfg'), **settings}
    with MODELS.switch_scope_and_registry(cfg.default_scope) as registry:
        return registry.build(settings)


def _to_rgb(tensor: Tensor, preprocessor: nn.Module) -> np.ndarray:
    """Undo the normalization of ``tensor`` (3, H, W)."""
    if getattr(preprocessor, '_enable_normalize', True):
        tensor = tensor * preprocessor.get_buffer('std').to(tensor) + preprocessor.get_buffer('mean').to(tensor)
    image = tensor.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    flags = ('to_rgb', '_channel_conversion', 'channel_conversion')
    swapped = any(getattr(preprocessor, flag, False) for flag in flags)
    return np.ascontiguousarray(image if swapped else image[..., ::-1])


def _enlarge(array: np.ndarray, factor: int) -> np.ndarray:
    """Repeat the pixels of ``array`` (..., H, W)."""
    return array.repeat(factor, axis=-2).repeat(factor, axis=-1)


def _enlarge_image(image: np.ndarray, factor: int) -> np.ndarray:
    return np.ascontiguousarray(_enlarge(image.transpose(2, 0, 1), factor).transpose(1, 2, 0))


_Draw = Callable[[np.ndarray, Any, int], np.ndarray]


def _detection_drawer(cfg: Config, split: str, metainfo: dict) -> _Draw:
    visualizer = _build_visualizer(cfg, metainfo)
    original = _loads_annotations_last(_pipeline(cfg, split))

    def draw(image: np.ndarray, sample: Any, factor: int) -> np.ndarray:
        sample.gt_instances = place_instances(sample, image.shape[:2], original, factor)
        visualizer.add_datasample('sample', _enlarge_image(image, factor), sample, draw_pred=False)
        return visualizer.get_image()

    return draw


def place_instances(sample: Any, shape: tuple[int, int], original: bool, factor: int = 1) -> Any:
    """Return the boxes and masks of a sample in the pixels of the image that the model gets.

    Args:
        sample: mmdet's ``DetDataSample``.
        shape: Height and width of that image, padding included.
        original: Whether annotations are those of the file, as in test pipelines, which resize the image alone.
        factor: Enlargement on top.
    """
    from mmdet.structures.bbox import get_box_tensor

    instances = sample.gt_instances
    scale = torch.as_tensor(sample.scale_factor if original else (1.0, 1.0)).repeat(2) * factor  # x, y, x, y
    instances.bboxes = get_box_tensor(instances.bboxes) * scale
    if 'masks' in instances:
        masks = instances.masks.resize(sample.img_shape[:2]) if original else instances.masks
        array = masks.to_ndarray()  # (n, H, W)
        margins = [(0, 0), (0, shape[0] - array.shape[1]), (0, shape[1] - array.shape[2])]
        instances.masks = _enlarge(np.pad(array, margins), factor)
    return instances


def _segmentation_drawer(cfg: Config, split: str, metainfo: dict) -> _Draw:
    visualizer = _build_visualizer(cfg, metainfo)

    def draw(image: np.ndarray, sample: Any, factor: int) -> np.ndarray:
        labels = place_labels(sample.gt_sem_seg.data, sample.img_shape[:2], image.shape[:2])
        sample.gt_sem_seg = PixelData(data=labels.repeat_interleave(factor, -2).repeat_interleave(factor, -1))
        visualizer.add_datasample('sample', _enlarge_image(image, factor), sample, draw_pred=False)
        return visualizer.get_image()

    return draw


def place_labels(labels: Tensor, content: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """Return a label map ``(1, H, W)`` in the size of the image that the model gets.

    Test pipelines resize and pad the image alone.

    Args:
        labels: The label map, of that size already or of the file's.
        content: Height and width of the image without padding.
        shape: Height and width with padding, which is ignored (255).
    """
    if tuple(labels.shape[1:]) == tuple(shape):
        return labels
    resized = F.interpolate(labels[None].double(), size=tuple(content), mode='nearest')[0].to(labels)
    return F.pad(resized, (0, shape[1] - content[1], 0, shape[0] - content[0]), value=255)


def _classification_drawer(cfg: Config, split: str, metainfo: dict) -> _Draw:
    classes = metainfo.get('classes')

    def draw(image: np.ndarray, sample: Any, factor: int) -> np.ndarray:
        picture = Image.fromarray(_enlarge_image(image, factor))
        framed = Image.new('RGB', (picture.width, picture.height + _CAPTION_HEIGHT), 'white')
        framed.paste(picture, (0, _CAPTION_HEIGHT))
        ImageDraw.Draw(framed).text((4, 2), _caption(sample, classes), 'black', ImageFont.load_default(12))
        return np.asarray(framed)

    return draw


def _caption(sample: Any, classes: tuple[str, ...] | None) -> str:
    """Name the labels of a sample, with their parts where labels are mixed or smoothed."""
    name = (lambda label: classes[label].split(',')[0]) if classes else str
    if 'gt_score' not in sample:
        return ', '.join(name(label) for label in sample.gt_label.tolist())
    parts, labels = sample.gt_score.sort(descending=True, stable=True)
    found = [(name(label), part) for label, part in zip(labels.tolist(), parts.tolist()) if part > 0]
    more = [f'and {len(found) - _SHOWN_LABELS} more'] if len(found) > _SHOWN_LABELS else []
    return ', '.join([f'{label} {part:.2f}' for label, part in found[:_SHOWN_LABELS]] + more) or 'no label'


def _pipeline(cfg: Config, split: str) -> list[dict]:
    dataset = cfg[f'{split}_dataloader'].dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset.get('pipeline', [])


def _loads_annotations_last(pipeline: list[dict]) -> bool:
    """Whether annotations are loaded after the image was resized, hence stay those of the file."""
    types = [transform['type'].split('.')[-1] for transform in pipeline]
    return 'Resize' in types and 'LoadAnnotations' in types[types.index('Resize') :]


def _build_visualizer(cfg: Config, metainfo: dict) -> Any:
    with VISUALIZERS.switch_scope_and_registry(cfg.default_scope) as registry:
        visualizer = registry.build({**cfg.visualizer, 'vis_backends': None, 'name': 'browse', 'alpha': 0.5})
    visualizer.dataset_meta = metainfo
    return visualizer


_DRAWERS = {
    'classification': _classification_drawer,
    'detection': _detection_drawer,
    'segmentation': _segmentation_drawer,
}
