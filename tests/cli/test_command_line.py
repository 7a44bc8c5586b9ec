"""The ``mmhyena`` command: every tool behind one name, answers at once, one line for what is wrong or missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmhyena
from mmhyena.__main__ import COMMANDS, main
from mmhyena.backbones import HyenaFormer

ROOT = Path(mmhyena.__file__).resolve().parents[1]


def run(code: str, *paths: Path) -> subprocess.CompletedProcess:
    """Run code in a fresh interpreter that finds ``paths`` before everything else."""
    path = os.pathsep.join(map(str, [*paths, ROOT]))
    return subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True
    )


def error_line(capsys: pytest.CaptureFixture) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    return line


@pytest.mark.parametrize('command', COMMANDS)
def test_help_names_the_command(command: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as ended:
        main([command, '--help'])
    assert ended.value.code == 0
    assert f'usage: mmhyena {command} ' in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = 'import sys, mmhyena.__main__ as m\n'
    code += 'for command in m.COMMANDS:\n    try: m.main([command, "--help"])\n    except SystemExit: pass\n'
    code += 'sys.stderr.write(str(sorted({"torch", "numpy", "mmengine", "mmcv", "rich"} & set(sys.modules))))'
    result = run(code)
    assert result.returncode == 0
    assert result.stderr == '[]'


@pytest.mark.parametrize('arguments', [[], ['--help']])
def test_without_a_command_all_are_listed(arguments: list[str], capsys: pytest.CaptureFixture):
    assert main(arguments) == 0
    listed = capsys.readouterr().out
    assert all(f'  {name} ' in listed for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture):
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'mmhyena {mmhyena.__version__}\n'


@pytest.mark.parametrize(
    ('name', 'hint'), [('trian', 'did you mean train?'), ('xyz', 'choose one of template, train, test')]
)
def test_unknown_command(name: str, hint: str, capsys: pytest.CaptureFixture):
    assert main([name]) == 2
    assert hint in error_line(capsys)


def test_module_and_exit_code():
    command = [sys.executable, '-m', 'mmhyena', 'train', 'none.py']
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == 'error: config none.py does not exist'


@pytest.mark.parametrize(
    ('package', 'command', 'extra'),
    [('mmengine', "['train', 'x.py']", "'mmhyena[onedl]'"), ('rich', "['flops', '--arch', 'x']", "'mmhyena[shapes]'")],
)
def test_missing_package_is_one_line(package: str, command: str, extra: str, tmp_path: Path):
    (tmp_path / f'{package}.py').write_text(f'raise ModuleNotFoundError("no {package}", name="{package}")\n')
    result = run(f'import sys, mmhyena.__main__ as m; sys.exit(m.main({command}))', tmp_path)
    assert result.returncode == 2, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith('error: ')]
    assert f'needs {package}, which is not installed: pip install {extra}' in line
    assert 'Traceback' not in result.stderr


# --- list ---


def test_list_of_architectures(capsys: pytest.CaptureFixture):
    assert main(['list', 'architectures']) == 0
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert set(HyenaFormer.arch_settings) < names


def test_listed_configs_can_be_read(capsys: pytest.CaptureFixture):
    from mmhyena.apis import load_config

    assert main(['list', 'configs', 'UPerNet', 'tiny_shapes']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'upernet_hpx-former-tiny_shapes' in [line.split()[0] for line in lines]
    for line in lines:
        assert load_config(line.split()[1]).default_scope == 'mmseg'


def test_list_of_weights(capsys: pytest.CaptureFixture):
    assert main(['list', 'weights', 'hpx-former-s18_8xb512_in1k']) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ['hpx-former-s18_8xb512_in1k', 'hf://Spravil/hpx_former_s18.westai_in1k'] in rows


def test_list_of_nothing(capsys: pytest.CaptureFixture):
    assert main(['list', 'weights', 'no-such-name']) == 2
    assert 'no weights with no-such-name' in error_line(capsys)


# --- tool ---


def test_toolkit_scripts_are_listed_and_run(tmp_path: Path, capsys: pytest.CaptureFixture):
    pytest.importorskip('mmdet')
    assert main(['tool', 'mmdet']) == 0
    assert 'analysis_tools/analyze_logs' in capsys.readouterr().out.splitlines()
    assert main(['tool', 'mmdet', 'confusion_matrix']) == 2
    assert 'did you mean analysis_tools/confusion_matrix?' in error_line(capsys)
    (tmp_path / 'mine.py').write_text("_base_ = ['mmhyena::shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py']\nseed = 7")
    command = [sys.executable, '-m', 'mmhyena', 'tool', 'mmdet', 'misc/print_config', 'mine.py']
    result = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert 'seed = 7' in result.stdout
    assert "arch='hpx_former_tiny'" in result.stdout


def test_options_after_the_script_are_the_scripts(capsys: pytest.CaptureFixture):
    pytest.importorskip('mmdet')
    with pytest.raises(SystemExit) as ended:
        main(['tool', 'mmdet', 'misc/print_config', '--help'])
    assert ended.value.code == 0
    assert 'usage: print_config.py' in capsys.readouterr().out
