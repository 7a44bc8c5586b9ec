"""Write a config for data of your own, to be edited at its top.

Examples:
    mmhyena template detection mine.py
    mmhyena template classification mine.py data_root=data/pets/ image_size=160 pretrained=None
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from mmhyena.compat.config_packages import find_config
from mmhyena.errors import UserError
from mmhyena.utils.cli import run_cli
from mmhyena.utils.overrides import parse_overrides

TASKS = ('detection', 'segmentation', 'classification')
_BLOCK = re.compile(r'(?<=# --- edit from here ---\n).*?(?=# --- to here ---\n)', re.DOTALL)


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('file', help='config to write, *.py')
    parser.add_argument('values', nargs='*', metavar='KEY=VALUE', help='values of the lines to edit, set at once')
    parser.add_argument('--force', action='store_true', help='replace FILE')
    return parser.parse_args(argv)


def fill(template: str, values: dict[str, object]) -> str:
    """Return a template with other values in the lines that are there to be edited.

    Raises:
        UserError: If there is no such line.
    """
    match = _BLOCK.search(template)
    if match is None:
        raise ValueError('a template marks the lines to edit')
    block = match[0]
    names = re.findall(r'^(\w+) = ', block, re.MULTILINE)
    for name, value in values.items():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            raise UserError(f'{name} is none of {", ".join(names)}' + (f': did you mean {close[0]}?' if close else ''))
        line = f'{name} = {value!r}'.replace('\\', r'\\')
        block = re.sub(rf'^{name} = .*$', line, block, flags=re.MULTILINE)
    return template[: match.start()] + block + template[match.end() :]


def run(args: argparse.Namespace) -> None:
    """Write the config.

    Raises:
        UserError: If the file is there already or cannot be written.
    """
    path = Path(args.file)
    if path.suffix != '.py':
        raise UserError(f'{path} must end in .py: it becomes a config')
    if path.exists() and not args.force:
        raise UserError(f'{path} is there already: --force replaces it')
    template = find_config(f'templates/{args.task}.py').read_text(encoding='utf-8')
    text = fill(template, parse_overrides(args.values))
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise UserError(f'{path} cannot be written: {error.strerror or error}') from error
    print(f'{path} is written: edit the lines at its top, then mmhyena check {path}')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Write the config, and return the exit code."""
    args = parse_args(argv, prog)
    return run_cli(lambda: run(args))
