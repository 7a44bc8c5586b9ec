"""What each config says about itself, whether its model can be built, and whether the indices know it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS

from mmhyena.apis.toolkits import use_toolkit

ROOT = Path(__file__).parents[2]
METAFILES = sorted((ROOT / 'configs').rglob('metafile.yml'))
NOT_PUBLISHED = 'not published'


def docstring(config: str) -> str:
    return ast.get_docstring(ast.parse((ROOT / config).read_text())) or ''


def read_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def test_config_builds(config, no_data):
    cfg = Config.fromfile(ROOT / config)
    use_toolkit(cfg)
    if 'data_preprocessor' in cfg and 'data_preprocessor' not in cfg.model:
        cfg.model.data_preprocessor = {'type': 'ClsDataPreprocessor', **cfg.data_preprocessor}
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5
    with MODELS.switch_scope_and_registry(None) as registry:
        assert 'tta_model' not in cfg or registry.get(cfg.tta_model.type) is not None


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """A working directory without data and weights: building a model must read neither."""
    monkeypatch.chdir(tmp_path)


def test_config_says_what_it_is(config):
    text = docstring(config)
    assert text, 'a config opens with a docstring'
    assert re.search(r'published|measured', text), 'whether there is a published or a measured figure'
    assert re.search(r'\b\d+ GPUs? x \d+ images|\bCPU\b|\b1 GPU\b', text), 'the hardware'
    command = re.search(r'^Command: ((?:.*\\\n)*.*)', text, re.MULTILINE)
    assert command, 'the exact command'
    assert config in command[1]
    assert (ROOT / re.search(r'tools/\w+\.(sh|py)', command[1])[0]).is_file()


def test_name_agrees_with_schedule(config):
    """``8xb512`` is GPUs x images each, ``160k`` iterations, ``1x`` and ``3x`` 12 and 36 epochs."""
    name, cfg = Path(config).stem, Config.fromfile(ROOT / config)
    if match := re.search(r'(\d+)xb(\d+)', name):
        gpus, images = int(match[1]), int(match[2])
        assert cfg.train_dataloader.batch_size == images
        assert cfg.auto_scale_lr.base_batch_size == gpus * images
    if match := re.search(r'-(\d+)k_', name):
        assert cfg.train_cfg.max_iters == 1000 * int(match[1])
        assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
        assert cfg.default_hooks.checkpoint.by_epoch is False
        assert cfg.train_cfg.max_iters % cfg.default_hooks.checkpoint.interval == 0
        assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    if match := re.search(r'(\d)x_coco', name):
        assert cfg.train_cfg.max_epochs == 12 * int(match[1])
    if match := re.search(r'(\d+)x(\d+)$', name):
        assert tuple(cfg.crop_size) == (int(match[1]), int(match[2]))
        assert tuple(cfg.model.data_preprocessor.size) == tuple(cfg.crop_size)


def test_backbone_and_name_agree(config):
    backbone = Config.fromfile(ROOT / config).model.get('backbone')
    if backbone is None:  # an ensemble
        return
    if backbone.type == 'mmhyena.HyenaFormer' and isinstance(backbone.arch, str) and '/hyenapixel/' in config:
        parts = Path(config).stem.split('_')
        assert backbone.arch.replace('_', '-') in parts[:2]
        checkpoint = (backbone.get('init_cfg') or {}).get('checkpoint')
        assert checkpoint in (None, f'checkpoints/{backbone.arch}.pth')


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda path: '-'.join(path.relative_to(ROOT).parts[1:-1]))
def test_metafile_agrees_with_configs(metafile):
    content = read_yaml(metafile)
    collections = {collection['Name'] for collection in content['Collections']}
    for collection in content['Collections']:
        assert (ROOT / collection['README']).is_file()
    readme = (metafile.parent / 'README.md').read_text()
    for model in content['Models']:
        assert model['In Collection'] in collections
        config = ROOT / model['Config']
        assert config.is_file()
        assert config.stem == model['Name']
        assert config.name in readme
        assert config.parent == metafile.parent
        text = docstring(model['Config'])
        for result in model.get('Results', ()):
            for value in result['Metrics'].values():
                if value == NOT_PUBLISHED:
                    assert NOT_PUBLISHED in text or 'nothing published' in text
                else:
                    assert str(value) in text, f'{value} of {model["Name"]} is not in its docstring'
                    assert result['Source'].split()[0] in text


def test_indices_are_complete(configs):
    index = read_yaml(ROOT / 'model-index.yml')['Import']
    assert sorted(index) == [str(path.relative_to(ROOT)) for path in METAFILES]
    models = [model for metafile in METAFILES for model in read_yaml(metafile)['Models']]
    assert not [name for name, count in Counter(model['Name'] for model in models).items() if count > 1]
    assert sorted(model['Config'] for model in models) == configs


def test_weights_of_others_are_called_converted():
    for metafile in METAFILES:
        for model in read_yaml(metafile)['Models']:
            if 'checkpoints/' in model.get('Weights', ''):
                assert model['Weights Source'] == 'converted, not re-trained'


def test_parameters_are_those_of_the_model():
    """The published counts, which include the frozen two-dimensional maps of distances; ours are buffers."""
    for model in read_yaml(ROOT / 'configs/hyenapixel/classification/metafile.yml')['Models']:
        cfg = Config.fromfile(ROOT / model['Config'])
        use_toolkit(cfg)
        with torch.device('meta'):
            built = MODELS.build(cfg.model)
        distances = (b for name, b in built.named_buffers() if name.endswith('.distance') and b.dim() == 2)
        tensors = [*built.parameters(), *distances]
        count = sum(tensor.numel() for tensor in tensors)
        assert round(count / 1e4) == round(model['Metadata']['Parameters'] / 1e4), model['Name']
