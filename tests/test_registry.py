"""`mmhyena.X` resolves from every toolkit without custom_imports, and never needs a toolkit it does not use."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

ARCH = "dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny')"


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize('toolkit', ['mmengine', 'mmpretrain', 'mmseg', 'mmdet'])
def test_resolves_from_the_registry_of(toolkit):
    if importlib.util.find_spec(toolkit) is None:
        pytest.skip(f'{toolkit} is not installed')
    # Where mmcv is not compiled, these cannot be imported before the stand-in is in place (mmseg: before 1.4).
    done = run(
        ('import mmhyena\n' if toolkit in ('mmdet', 'mmseg') else '') + f'from {toolkit}.registry import MODELS\n'
        f'model = MODELS.build({ARCH})\n'
        "assert type(model).__module__ == 'mmhyena.backbones.hyena_former', type(model)\n"
    )
    assert done.returncode == 0, done.stderr


def test_backbone_needs_mmengine_alone():
    done = run(
        'import sys\n'
        'class Refuse:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        "        if name.split('.')[0] in ('mmcv', 'mmdet', 'mmseg', 'mmpretrain'):\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        'sys.meta_path.insert(0, Refuse())\n'
        'from mmengine.registry import MODELS\n'
        f'MODELS.build({ARCH})\n'
        'try:\n'
        "    MODELS.build(dict(type='mmhyena.MetaFormerClsHead', num_classes=2, in_channels=8))\n"
        'except ModuleNotFoundError as error:\n'
        "    assert 'mmpretrain' in str(error), error\n"
        'else:\n'
        "    raise SystemExit('the head was built without mmpretrain')\n"
        'import mmhyena.registry as ours\n'
        "for registry, typo in ((ours.MODELS, 'HyenaFormr'), (ours.DATASETS, 'CIFAR11')):\n"
        '    try:\n'
        "        registry.build(dict(type=f'mmhyena.{typo}'))\n"
        '    except KeyError as error:\n'
        "        assert f'{typo} is not in' in str(error), error\n"
        '    else:\n'
        "        raise SystemExit(f'{typo} was built')\n"
    )
    assert done.returncode == 0, done.stderr


def test_unknown_name_is_mmengines_own_error():
    from mmengine.registry import MODELS

    with pytest.raises(KeyError, match='NoSuchMixer'):
        MODELS.build(dict(type='mmhyena.NoSuchMixer'))


@pytest.mark.parametrize('registry', ['MODELS', 'DATASETS', 'METRICS'])
def test_classes_on_a_toolkit_are_all_listed(registry):
    """What a toolkit module registers and the table does not name would be unknown until somebody imports it."""
    for toolkit in ('mmdet', 'mmpretrain'):
        pytest.importorskip(toolkit)
    found = getattr(importlib.import_module('mmhyena.registry'), registry)
    for name, module in found.toolkit_modules.items():
        assert found.get(f'mmhyena.{name}').__module__.startswith(module)
    modules = tuple(set(found.toolkit_modules.values()))
    registered = {name for name, cls in found.module_dict.items() if cls.__module__.startswith(modules)}
    assert registered == set(found.toolkit_modules)
