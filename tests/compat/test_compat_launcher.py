"""``python -m mmhyena.compat``: other projects' scripts with the fallback in place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmhyena

PACKAGE_ROOT = str(Path(mmhyena.__file__).resolve().parents[1])


def launch(*args: str, cwd: Path, path: str = '') -> subprocess.CompletedProcess:
    python_path = os.pathsep.join(filter(None, [path, PACKAGE_ROOT]))
    return subprocess.run(
        [sys.executable, '-m', 'mmhyena.compat', *args],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': python_path},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / 'scripts'
    folder.mkdir()
    (folder / 'neighbor.py').write_text('VALUE = 7\n')
    path = folder / 'job.py'
    path.write_text(
        'import sys, neighbor\n'
        'from mmhyena.compat.mmcv_ext import FallbackFinder\n'
        'assert isinstance(sys.meta_path[-1], FallbackFinder)\n'
        'assert __name__ == "__main__" and sys.modules["__main__"].neighbor is neighbor\n'
        'print(sys.argv, sys.path[0], __file__, neighbor.VALUE)\n'
        'sys.exit(5)\n'
    )
    return path


@pytest.mark.parametrize('absolute', [True, False])
def test_script_sees_what_python_would_show_it(script, tmp_path, absolute):
    name = str(script if absolute else script.relative_to(tmp_path))
    result = launch(name, '--flag', '-m', 'x y', cwd=tmp_path)
    expected = [[name, '--flag', '-m', 'x y'], str(script.parent), name, 7]
    assert result.stdout.strip() == ' '.join(map(str, expected)), result.stderr
    assert result.returncode == 5


def test_module_sees_what_python_would_show_it(script):
    result = launch('-m', 'job', '--flag', cwd=script.parent)
    expected = [[str(script), '--flag'], str(script.parent), str(script), 7]
    assert result.stdout.strip() == ' '.join(map(str, expected)), result.stderr
    assert result.returncode == 5


def test_errors_inside_the_script_keep_their_traceback(tmp_path):
    (tmp_path / 'broken.py').write_text('import no_such_module_at_all\n')
    for args in (['broken.py'], ['-m', 'broken']):
        result = launch(*args, cwd=tmp_path)
        assert result.returncode == 1
        assert 'broken.py", line 1' in result.stderr
        assert "No module named 'no_such_module_at_all'" in result.stderr


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['nowhere/train.py'], 'no such script: nowhere/train.py'),
        (['.'], 'no such script: .'),
        (['-m', 'no_such_module.sub'], 'no module named no_such_module.sub'),
        (['-m'], '-m needs the name of a module'),
        (['--config'], "unknown option '--config'; see `python -m mmhyena.compat --help`"),
    ],
)
def test_nothing_to_run_is_one_line_and_status_2(tmp_path, args, message):
    result = launch(*args, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == f'mmhyena.compat: {message}\n'


def test_alone_it_prints_the_environment(tmp_path):
    result = launch(cwd=tmp_path)
    assert result.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines['mmhyena'] == mmhyena.__version__
    assert lines['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert {'torch', 'distribution', 'mmdet'} <= set(lines)


def test_help(tmp_path):
    result = launch('--help', cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith('usage: python -m mmhyena.compat SCRIPT [ARGS...]')


@pytest.mark.slow
def test_mmdets_own_tool_starts(tmp_path):
    mmdet = pytest.importorskip('mmdet')
    tool = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'test.py'
    if not tool.is_file():
        pytest.skip('this mmdet was installed without its tools')
    result = launch(str(tool), '--help', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'checkpoint' in result.stdout
