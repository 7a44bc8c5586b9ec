"""Every config of the repository, and what makes one small enough to run on generated images."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmhyena.backbones import HyenaFormer
from mmhyena.testing import write_tiny

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(  # not the templates, which read data: tests/configs/test_templates.py
    str(path.relative_to(ROOT))
    for path in (ROOT / 'configs').rglob('*.py')
    if not {'_base_', 'templates'} & set(path.parts)
)
SIZE_KEYS = {'scale', 'scales', 'crop_size', 'img_scale', 'size', 'stride'}
SMALL = 64
BATCH = 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``config`` on every config of the repository."""
    if 'config' in metafunc.fixturenames:
        metafunc.parametrize('config', CONFIGS, ids=lambda path: Path(path).stem)


@pytest.fixture(autouse=True)
def _no_visualizer() -> Iterator[None]:
    """Forget visualizers: mmdet's configs give all runs of a process one name, and so the first run's log file."""
    yield
    classes = [Visualizer]
    while classes:
        visualizer = classes.pop()
        visualizer._instance_dict.clear()
        classes += visualizer.__subclasses__()


@pytest.fixture(scope='session')
def configs() -> list[str]:
    return CONFIGS


@pytest.fixture(scope='session')
def tiny_root(tmp_path_factory) -> Path:
    """A folder that stands for ``data/``: every data set, two batches to train on, three images to validate on."""
    root = tmp_path_factory.mktemp('data')
    write_tiny(root, num=2 * BATCH)
    return root


@pytest.fixture(scope='session')
def weights_root(tmp_path_factory) -> Path:
    """A folder that stands for ``checkpoints/``."""
    return tmp_path_factory.mktemp('checkpoints')


@pytest.fixture
def overrides(tiny_root, weights_root) -> Callable[[str], list[str]]:
    """Return the ``--cfg-options`` that shrink a config: data root, batch size, image size, iterations; no more."""

    def make(config: str) -> list[str]:
        cfg = Config.fromfile(ROOT / config)
        options = dict(shrink(cfg))
        options |= {key: relocate(value, tiny_root, weights_root, cfg) for key, value in _paths(cfg)}
        return [f'{key}={value}' for key, value in options.items()]

    return make


@pytest.fixture(scope='session')
def tools() -> dict[str, Callable[[list[str]], int]]:
    """The ``main`` functions of the command-line tools, to call them without a process of their own."""
    return {name: _load(ROOT / 'tools' / f'{name}.py').main for name in ('train', 'test')}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shrink(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values: small images and batches, two iterations, no worker processes."""
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        yield from ((f'{loader}.batch_size', BATCH), (f'{loader}.num_workers', 0))
        yield f'{loader}.persistent_workers', False
        if 'num_samples' in cfg[loader].dataset:  # a generated data set
            yield f'{loader}.dataset.num_samples', 2 * BATCH
    if cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('by_epoch'):
        yield 'train_cfg.max_epochs', 1
    else:
        yield 'train_cfg.max_iters', 2
        yield 'default_hooks.checkpoint.interval', 2
    yield 'train_cfg.val_interval', 1 if cfg.train_cfg.get('max_epochs') else 2
    if 'num_queries' in cfg.model:  # DINO chooses its queries among the pixels of all maps
        yield 'model.num_queries', 30
    if 'img_size' in cfg.model.get('backbone', ()):
        return
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'tta_pipeline'):
        yield from ((name, value) for name, value in _sizes(key, cfg.get(key)))
    for key in ('data_preprocessor', 'test_cfg'):
        yield from _sizes(f'model.{key}', cfg.model.get(key))


def _sizes(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every image size inside a config value, scaled so that its short side is small."""
    if isinstance(node, dict):
        for name, child in node.items():
            if name in SIZE_KEYS and not isinstance(child, dict):
                yield f'{key}.{name}', _small(child)
            else:
                yield from _sizes(f'{key}.{name}', child)
    elif isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            yield from _sizes(f'{key}.{i}', child)


def _small(size: Any) -> str:
    if isinstance(size, int):
        return str(min(size, SMALL))
    if all(isinstance(number, int) for number in size):
        short = min(size)
        return '(' + ','.join(str(number * min(SMALL, short) // short) for number in size) + ')'
    return '[' + ','.join(_small(item) for item in size) + ']'


def _paths(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield every string in a config that names a file of the data or of the weights."""
    for key, value in _strings('', cfg.to_dict()):
        if value.startswith(('data/', 'checkpoints/', 'hf://timm/')) and key.partition('.')[0] in LIVE_KEYS:
            yield key, value


LIVE_KEYS = {
    *(f'{split}_{part}' for split in ('train', 'val', 'test') for part in ('dataloader', 'evaluator')),
    'model',
    'load_from',
}


def _strings(key: str, node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, dict):
        for name, child in node.items():
            yield from _strings(f'{key}.{name}' if key else str(name), child)
    elif isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            yield from _strings(f'{key}.{i}', child)


def relocate(value: str, tiny_root: Path, weights_root: Path, cfg: Config) -> str:
    """Return where a file of ``data/`` or ``checkpoints/`` lies in the test; weights are made when first asked for."""
    if value.startswith('hf://timm/'):
        return str(timm_weights(value.removeprefix('hf://timm/').partition('.')[0], weights_root))
    folder, _, rest = value.partition('/')
    if folder == 'data':
        return f'{tiny_root}/{rest.replace("shapes_far_context", "shapes", 1)}'  # the same layout
    path = weights_root / rest
    if not path.exists():
        torch.save({'state_dict': classifier_weights(path.stem, cfg)}, path)
    return str(path)


def timm_weights(model_name: str, weights_root: Path) -> Path:
    """Return a file with random weights of a classifier of timm."""
    path = weights_root / f'{model_name}.pth'
    if not path.exists():
        torch.save(timm.create_model(model_name).state_dict(), path)
    return path


def classifier_weights(arch: str, cfg: Config) -> dict[str, torch.Tensor]:
    """Random weights of the ImageNet classifier that a checkpoint is named after."""
    if arch in timm.list_models():
        return timm.create_model(arch).state_dict()
    if arch not in HyenaFormer.arch_settings:
        raise ValueError(f'{cfg.filename} starts from {arch}, for which this test knows no classifier')
    from mmpretrain.models import ImageClassifier

    width = HyenaFormer.arch_settings[arch]['channels'][-1]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = ImageClassifier(
            backbone=dict(type='mmhyena.HyenaFormer', arch=arch, out_indices=(3,), gap_before_final_norm=True),
            head=dict(
                type='mmhyena.MetaFormerClsHead',
                num_classes=1000,
                in_channels=width,
                loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
            ),
        )
    return model.state_dict()
