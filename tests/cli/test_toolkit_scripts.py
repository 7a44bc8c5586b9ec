"""Every script of the toolkits that the documentation names starts through ``mmhyena tool``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmhyena.cli.tool import TOOLKITS

ROOT = Path(__file__).parents[2]
# One process imports the toolkit once; every script then runs in a fork of it.
START = """
import os, signal, sys, traceback
import mmhyena, torch, mmcv.ops, {toolkit}.apis
from mmhyena.cli.tool import main
failed = []
for script in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = 1
        try:
            code = main(['{toolkit}', script, '--help'])
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    if os.waitpid(child, 0)[1]:
        failed.append(script)
sys.exit(f'these do not start: {{failed}}' if failed else 0)
"""


def documented(toolkit: str) -> list[str]:
    rows = [
        [cell.strip() for cell in line.strip('| \n').split('|')]
        for line in (ROOT / 'docs/toolkit_scripts.md').read_text().splitlines()
        if line.startswith('|')
    ]
    column = rows[0].index(toolkit)
    cells = [row[column] for row in rows[2:] if len(row) > column]
    return [name for cell in cells for name in re.findall('`(.+?)`', cell)]


@pytest.mark.slow
@pytest.mark.parametrize('toolkit', TOOLKITS)
def test_documented_scripts_start(toolkit: str, tmp_path: Path):
    pytest.importorskip(toolkit)
    scripts = documented(toolkit)
    assert len(scripts) >= 5
    result = subprocess.run(
        [sys.executable, '-c', START.format(toolkit=toolkit), *scripts],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'MPLBACKEND': 'Agg'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count('usage: ') == len(scripts)
