"""`mmhyena.X` resolves from every toolkit without custom_imports, and never needs a toolkit it does not use."""

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
    )
    assert done.returncode == 0, done.stderr


def test_unknown_name_is_mmengines_own_error():
    from mmengine.registry import MODELS

    with pytest.raises(KeyError, match='NoSuchMixer'):
        MODELS.build(dict(type='mmhyena.NoSuchMixer'))
