"""Every command in the documentation is executed by a test, or marked with what it needs that a test does not have.

A block of commands has a comment on the line above it, or the page has one below its title for all of its blocks:

- ``<!-- commands: executed -->``: this file runs it, all such blocks of a page in order, in a folder that has
  ``tools``, ``configs`` and ``demo``;
- ``<!-- commands: executed by tests/... -->``: that test file does, and names the page;
- ``<!-- commands: need data -->``: it is not run; ``NEEDS`` lists what may be missing;
- ``<!-- commands: fragment -->``: Python that continues something of the reader's own.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from mmhyena.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')])
NEEDS = ('data', 'minutes', 'network', 'a GPU', 'a cluster')
COMMENT = r'<!-- commands: (.+?) -->\n'
BLOCK = re.compile(rf'(?:{COMMENT})?^```(bash|console|python)\n(.*?)^```', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    mark: str | None
    language: str
    code: str


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text()
    whole = re.match(rf'#[^\n]*\n{COMMENT}(?!```)', text)
    return [Block(mark or (whole and whole[1]), language, code) for mark, language, code in BLOCK.findall(text)]


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def is_valid(block: Block, page: Path) -> bool:
    mark = block.mark or ''
    if mark.startswith('executed by '):
        test = ROOT / mark.removeprefix('executed by ')
        return test.is_file() and test.name.startswith('test_') and page.stem in test.read_text()
    if mark == 'executed':
        return block.language != 'console'
    if mark == 'fragment':
        return block.language == 'python' and bool(ast.parse(block.code).body)
    return mark in {f'need {what}' for what in NEEDS}


@pytest.mark.parametrize('page', PAGES, ids=relative)
def test_every_block_is_executed_or_says_what_it_needs(page: Path):
    assert [block for block in read_blocks(page) if not is_valid(block, page)] == []


@pytest.mark.parametrize(
    ('mark', 'language', 'valid'),
    [
        (None, 'bash', False),
        ('executed', 'bash', True),
        ('executed', 'console', False),
        ('executed by tests/docs/test_nothing.py', 'bash', False),
        ('need patience', 'bash', False),
        ('need data', 'bash', True),
        ('fragment', 'bash', False),
    ],
)
def test_marks(mark: str | None, language: str, valid: bool):
    assert is_valid(Block(mark, language, 'x = 1\n'), ROOT / 'docs/index.md') is valid


@pytest.mark.parametrize('page', PAGES, ids=relative)
def test_named_commands_exist(page: Path):
    """Also those in tables and sentences: subcommands, modules and scripts."""
    text = page.read_text()
    code = '\n'.join([*re.findall(r'(?<!`)`([^`\n]+)`(?!`)', text), *(block.code for block in read_blocks(page))])
    subcommands = set(re.findall(r'^\s*(?:\$ )?mmhyena ([a-z]+)\b', code, re.MULTILINE))
    assert subcommands <= set(COMMANDS)
    modules = set(re.findall(r'python -m ((?:benchmarks|mmhyena)[\w.]*)', code))
    assert [name for name in sorted(modules) if importlib.util.find_spec(name) is None] == []
    scripts = set(re.findall(r'\b(?:bash|sh|python) ((?:tools|demo|benchmarks|requirements|docs|\.ci)/[\w./-]+)', code))
    assert [name for name in sorted(scripts) if not (ROOT / name).is_file()] == []


def executed_pages() -> list[object]:
    found = []
    for page in PAGES:
        if any(block.mark == 'executed' for block in read_blocks(page)):
            found.append(pytest.param(page, id=relative(page), marks=pytest.mark.slow))
    return found


@pytest.mark.parametrize('page', executed_pages())
def test_blocks_run_as_written(page: Path, tmp_path: Path):
    blocks = [block for block in read_blocks(page) if block.mark == 'executed']
    for name in ('tools', 'configs', 'demo', 'benchmarks', 'docs'):
        (tmp_path / name).symlink_to(ROOT / name)
    for name, command in (('python', ''), ('mmhyena', ' -m mmhyena')):
        path = tmp_path / 'bin' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec {sys.executable}{command} "$@"\n')
        path.chmod(0o755)
    env = {**os.environ, 'PATH': f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}', 'PYTHONPATH': str(ROOT)}
    script = 'set -eu\n' + ''.join(block.code for block in blocks if block.language == 'bash')
    program = ''.join(block.code for block in blocks if block.language == 'python')
    for command in (['bash', '-c', script], [sys.executable, '-c', program]):
        result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
