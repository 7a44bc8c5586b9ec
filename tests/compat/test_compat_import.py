"""How the fallback comes into a fresh interpreter, and how it stays out."""

import os
import subprocess
import sys
import textwrap
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import pytest

import mmhyena
from mmhyena import compat
from mmhyena.compat import mmcv_ext, mmcv_ext_ops
from mmhyena.compat.mmcv_ext import FallbackFinder

PACKAGE_ROOT = str(Path(mmhyena.__file__).resolve().parents[1])


def run(code: str, *paths: Path, **env: str) -> subprocess.CompletedProcess:
    """Runs code in a fresh interpreter that finds ``paths`` before everything else."""
    path = os.pathsep.join([*map(str, paths), PACKAGE_ROOT])
    result = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        env={**os.environ, 'PYTHONPATH': path, **env},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture
def plain_mmcv(tmp_path):
    """An mmcv without operators."""
    folder = tmp_path / 'plain'
    (folder / 'mmcv').mkdir(parents=True)
    (folder / 'mmcv' / '__init__.py').write_text('')
    return folder


def test_importing_mmhyena_is_light():
    heavy = "{'torch', 'torchvision', 'numpy', 'mmcv', 'mmengine'}"
    assert run(f'import sys, mmhyena; print({heavy} & set(sys.modules))').stdout.strip() == 'set()'


def test_install_is_idempotent():
    compat.install()
    compat.install()
    assert sum(isinstance(finder, FallbackFinder) for finder in sys.meta_path) == 1
    places = [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]
    assert places.index(FallbackFinder) > places.index(PathFinder)


def test_fallback_is_found_imported_once_and_announced_once(plain_mmcv):
    result = run(
        """
        import importlib.util, sys
        import mmhyena
        spec = importlib.util.find_spec('mmcv._ext')
        assert spec is not None and spec.origin == 'mmhyena.compat.mmcv_ext_ops', spec
        assert importlib.util.find_spec('mmcv._other') is None
        assert 'torch' not in sys.modules  # finding is not importing
        import mmcv._ext
        first = sys.modules['mmcv._ext']
        mmhyena.compat.install()
        import mmcv._ext
        from mmcv import _ext
        assert mmcv._ext is _ext is first
        assert _ext.__spec__.name == 'mmcv._ext'
        assert importlib.util.find_spec('mmcv._ext') is _ext.__spec__
        """,
        plain_mmcv,
    )
    assert result.stderr.count('mmhyena fallback') == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(('rank', 'lines'), [('0', 1), ('1', 0)])
def test_only_the_first_rank_announces(monkeypatch, caplog, rank, lines):
    monkeypatch.setenv('RANK', rank)
    mmcv_ext._announce()
    assert len(caplog.records) == lines


def test_compiled_module_wins(plain_mmcv):
    (plain_mmcv / 'mmcv' / '_ext.py').write_text('COMPILED = True\n')
    result = run(
        """
        import sys, mmhyena, mmcv._ext
        assert mmcv._ext.COMPILED
        assert 'mmhyena.compat.mmcv_ext_ops' not in sys.modules
        assert mmhyena.compat.environment_report()['mmcv ops'] == 'compiled'
        """,
        plain_mmcv,
    )
    assert result.stderr == ''


def test_compiled_module_that_does_not_load_is_not_covered_up(plain_mmcv):
    (plain_mmcv / 'mmcv' / '_ext.py').write_text("raise ImportError('undefined symbol: test')\n")
    result = run(
        """
        import mmhyena
        try:
            import mmcv._ext
        except ImportError as error:
            print(error)
        """,
        plain_mmcv,
    )
    assert result.stdout.strip() == 'undefined symbol: test'


def test_without_mmcv_nothing_is_found(tmp_path):
    (tmp_path / 'mmcv.py').write_text("raise ModuleNotFoundError(\"No module named 'mmcv'\", name='mmcv')\n")
    result = run(
        """
        import mmhyena
        try:
            import mmcv._ext
        except ModuleNotFoundError as error:
            print(error.name)
        """,
        tmp_path,
    )
    assert result.stdout.strip() == 'mmcv'


@pytest.fixture
def fallback():
    module = ModuleType('mmcv._ext')
    mmcv_ext.FallbackLoader().exec_module(module)
    return module


def test_every_other_op_is_an_attribute_that_says_what_to_do_when_called(fallback):
    op = fallback.carafe_forward
    assert fallback.carafe_forward is op
    with pytest.raises(mmcv_ext.UnsupportedOpError) as error:
        op(1, groups=2)
    message = str(error.value)
    assert '\n' not in message
    assert "'carafe_forward'" in message
    assert 'MMCV_WITH_OPS=1 pip install --no-build-isolation' in message


def test_private_names_are_not_ops(fallback):
    assert not hasattr(fallback, '__path__')
    assert not hasattr(fallback, '_private')


def test_supported_ops_are_not_replaced(fallback):
    for name in mmcv_ext_ops.__all__:
        assert getattr(fallback, name) is getattr(mmcv_ext_ops, name)
