"""Pins agree with pyproject.toml, the package itself asks for little, and a wheel holds what OpenMMLab looks for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mmhyena.datasets.shapes import generate_shapes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
DISTRIBUTIONS = {'onedl': ('3.10', '3.11', '3.12', '3.13'), 'openmmlab': ('3.10',)}


def read_pins(distribution: str, python: str) -> dict[str, str]:
    """Versions by package name that the lock file gives one Python on 64-bit Linux."""
    place = {'sys_platform': 'linux', 'platform_system': 'Linux', 'platform_machine': 'x86_64'}
    place |= {'python_version': python, 'python_full_version': f'{python}.9'}
    pins = {}
    for line in (ROOT / f'requirements/{distribution}.txt').read_text().splitlines():
        if line.startswith('#'):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(place):
            assert requirement.name not in pins, f'{requirement.name} is pinned twice for Python {python}'
            pins[requirement.name] = str(requirement.specifier).removeprefix('==')
    return pins


def extra(name: str) -> list[Requirement]:
    """The requirements of an extra, those of the extras it names included."""
    found = []
    for requirement in map(Requirement, PROJECT['optional-dependencies'][name]):
        nested = [extra(inner) for inner in requirement.extras] if requirement.name == 'mmhyena' else [[requirement]]
        found += [item for group in nested for item in group]
    return found


@pytest.mark.parametrize(
    ('distribution', 'python'),
    [(distribution, python) for distribution in DISTRIBUTIONS for python in DISTRIBUTIONS[distribution]],
)
def test_pins_satisfy_the_extras(distribution: str, python: str):
    pins = read_pins(distribution, python)
    wanted = [*map(Requirement, PROJECT['dependencies']), *extra(distribution), *extra('test'), *extra('lint')]
    wrong = [str(item) for item in wanted if not item.specifier.contains(pins.get(item.name, '0'), prereleases=True)]
    assert wrong == []


@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
def test_lock_names_no_place_and_only_headless_opencv(distribution: str):
    text = (ROOT / f'requirements/{distribution}.txt').read_text()
    assert not re.search(r'://|^-|@', text, flags=re.MULTILINE)
    for python in DISTRIBUTIONS[distribution]:
        assert [name for name in read_pins(distribution, python) if 'opencv' in name] == ['opencv-python-headless']


@pytest.mark.parametrize('python', DISTRIBUTIONS['onedl'])
def test_pins_of_the_optional_parts(python: str):
    pins, more = read_pins('onedl', python), read_pins('onedl-extras', python)
    assert {name: more.get(name) for name in pins} == pins
    wanted = [item for name in ('cam', 'docs', 'export', 'tensorboard') for item in extra(name)]
    assert [
        str(item) for item in wanted if not item.specifier.contains(more.get(item.name, '0'), prereleases=True)
    ] == []
    assert [name for name in more if 'opencv' in name] == ['opencv-python-headless']


def test_package_itself_needs_no_openmmlab():
    assert {Requirement(text).name for text in PROJECT['dependencies']} == {'numpy', 'torch', 'torchvision'}


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this package, built from a copy of what it is made of."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    files = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml')
    for name in (*files, 'mmhyena', 'configs', 'tools', 'demo'):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('.mim', '__pycache__'))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source)
    code = f'from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))'
    built = subprocess.run([sys.executable, '-c', code], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / built.stdout.split()[-1]


def test_wheel_holds_configs_and_tools(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    own = {f'mmhyena/{path.relative_to(ROOT / "mmhyena")}' for path in (ROOT / 'mmhyena').rglob('*.py')}
    own = {name for name in own if '.mim' not in name}
    configs = {f'mmhyena/.mim/{path.relative_to(ROOT)}' for path in (ROOT / 'configs').rglob('*.py')}
    assert own | configs | {'mmhyena/.mim/tools/train.py', 'mmhyena/py.typed'} <= names
    assert not any('quickstart' in name or name.startswith(('tests', 'tools', 'configs')) for name in names)


@pytest.mark.slow
def test_installed_wheel_trains_a_config_that_inherits_from_it(wheel: Path, tmp_path: Path):
    """In an environment of its own that borrows all packages but mmhyena, in a folder that is no clone."""
    environment = tmp_path / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', environment], check=True)
    (site_packages,) = environment.glob('lib/python*/site-packages')
    pip = [environment / 'bin/python', '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', wheel]
    subprocess.run(pip, check=True)
    # Folders named in a .pth file do not get their own .pth files read: an editable mmhyena stays out.
    (site_packages / 'borrowed.pth').write_text(sysconfig.get_path('purelib') + '\n')
    clean = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}

    def run(*command: object) -> str:
        result = subprocess.run([*map(str, command)], cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    where = run(environment / 'bin/python', '-c', 'import mmhyena; print(mmhyena.__file__)')
    assert Path(where.strip()).parent == site_packages / 'mmhyena'
    generate_shapes(tmp_path / 'data/shapes', train=4, val=2, size=64, cls_train=8, cls_val=4, cls_size=32, seed=0)
    (tmp_path / 'mine.py').write_text("_base_ = ['mmhyena::shapes/hpx-former-tiny_shapes.py']\n")
    options = ['train_cfg.max_epochs=1', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']
    options += ['train_dataloader.batch_size=4', 'param_scheduler=None']
    run(environment / 'bin/mmhyena', 'train', 'mine.py', '--cfg-options', *options)
    assert (tmp_path / 'work_dirs/mine/epoch_1.pth').is_file()
