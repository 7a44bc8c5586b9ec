"""Run a script that mmdet, mmseg or mmpretrain brings, with the fallback for mmcv's compiled operators in place.

Examples:
    mmhyena tool mmdet                                              list its scripts
    mmhyena tool mmdet analysis_tools/analyze_logs plot_curve LOG   run one; --help after its name is passed on
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from mmhyena.errors import UserError
from mmhyena.utils.cli import run_cli

TOOLKITS = ('mmdet', 'mmseg', 'mmpretrain')


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('toolkit', choices=TOOLKITS)
    parser.add_argument('script', nargs='?', help='path below its tools folder, .py may be left out')
    parser.add_argument('arguments', nargs='*', help='of the script')
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(argv[:2])  # what follows belongs to the script, options included
    args.arguments = argv[2:]
    return args


def tools_folder(toolkit: str) -> Path:
    """Return the folder with the scripts of an installed toolkit, without importing it.

    Raises:
        UserError: If the toolkit is not installed, or was installed without its scripts.
    """
    spec = importlib.util.find_spec(toolkit)
    if spec is None or spec.origin is None:
        raise UserError(f"{toolkit} is not installed: pip install 'mmhyena[onedl]' (or 'mmhyena[openmmlab]')")
    folder = Path(spec.origin).parent / '.mim' / 'tools'
    if not folder.is_dir():
        raise UserError(f'{toolkit} was installed without its scripts: {folder} does not exist')
    return folder


def find_script(toolkit: str, name: str) -> Path:
    """Return the file of a script.

    Raises:
        UserError: If there is none, with the nearest names.
    """
    folder = tools_folder(toolkit)
    scripts = list_scripts(folder)
    name = name.removesuffix('.py')
    if name in scripts:
        return folder / f'{name}.py'
    same = [script for script in scripts if script.rpartition('/')[2] == name.rpartition('/')[2]]
    near = same or difflib.get_close_matches(name, scripts, n=3)
    hint = f'did you mean {", ".join(near)}?' if near else f'mmhyena tool {toolkit} lists them'
    raise UserError(f'{toolkit} has no script {name}: {hint}')


def list_scripts(folder: Path) -> list[str]:
    """Return the names of all scripts below a folder, without ``.py``."""
    return sorted(path.relative_to(folder).with_suffix('').as_posix() for path in folder.rglob('*.py'))


def run(args: argparse.Namespace) -> None:
    """Run the script, or list all of them if none is named."""
    if args.script is None:
        print('\n'.join(list_scripts(tools_folder(args.toolkit))))
        return
    script = find_script(args.toolkit, args.script)
    from mmhyena.checkpoints import use_our_reader
    from mmhyena.compat.__main__ import run_script

    use_our_reader()
    run_script([str(script), *args.arguments])


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run a script, and return the exit code."""
    args = parse_args(argv, prog)
    return run_cli(lambda: run(args))
