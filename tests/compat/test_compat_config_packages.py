"""Inheriting from configs of installed packages: ``mmhyena::``, ``mmdet::``, ``mmseg::`` and ``mmpretrain::``."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmhyena.apis import UserError, load_config
from mmhyena.compat.config_packages import config_folder, find_config, register_config_packages

OWN = 'shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py'


def write(folder: Path, base: str, text: str = '') -> Path:
    path = folder / 'mine.py'
    path.write_text(f'_base_ = [{base!r}]\n{text}\n')
    return path


def test_own_config_is_inherited_as_if_by_path(tmp_path: Path):
    inherited = load_config(write(tmp_path, f'mmhyena::{OWN}', 'model = dict(backbone=dict(drop_path_rate=0.5))'))
    expected = load_config(config_folder() / OWN)
    expected.model.backbone.drop_path_rate = 0.5
    assert inherited.to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ('base', 'model'),
    [
        ('mmdet::_base_/models/mask-rcnn_r50_fpn.py', 'MaskRCNN'),
        ('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', 'RetinaNet'),
        ('mmseg::_base_/models/upernet_r50.py', 'EncoderDecoder'),
        ('mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py', 'EncoderDecoder'),
        ('mmpretrain::_base_/models/resnet18.py', 'ImageClassifier'),
        ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', 'ImageClassifier'),
    ],
)
def test_configs_of_the_toolkits_are_inherited(base: str, model: str, tmp_path: Path):
    scope = base.partition('::')[0]
    pytest.importorskip(scope)
    cfg = load_config(write(tmp_path, base))
    assert (cfg.model.type, cfg.model._scope_) == (model, scope)


def test_a_config_of_a_package_is_read_by_its_name():
    assert load_config(f'mmhyena::{OWN}').to_dict() == load_config(config_folder() / OWN).to_dict()


@pytest.mark.parametrize(
    ('base', 'culprit'),
    [
        ('mmhyena::shapes/mask-rcnn_hpx-former-tiny_shapes.py', f'did you mean mmhyena::{OWN}'),
        ('mmhyena::mask-rcnn_hpx-former-tiny_fpn_shapes.py', f'did you mean mmhyena::{OWN}'),
        ('mmdet::no/such.py', 'no/such.py'),
        ('mmnone::no/such.py', 'mmnone'),
    ],
)
def test_unknown_configs_are_named(base: str, culprit: str, tmp_path: Path):
    for path in (write(tmp_path, base), base):
        with pytest.raises(UserError, match=culprit):
            load_config(path)


def test_registering_twice_changes_nothing():
    register_config_packages()
    once = Config._get_cfg_path
    register_config_packages()
    assert Config._get_cfg_path is once
    assert Config._get_cfg_path('x.py', '/a/b.py') == ('/a/x.py', None)


def test_every_config_is_found_by_its_path():
    for path in list(config_folder().rglob('*.py'))[::20]:
        assert find_config(path.relative_to(config_folder()).as_posix()).samefile(path)
