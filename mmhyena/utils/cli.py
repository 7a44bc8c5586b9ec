"""What the command-line tools share. Imports nothing heavy, so that ``--help`` and a mistyped option answer at once."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from mmhyena.errors import TRACEBACK_VARIABLE, UserError, one_line, shows_tracebacks

__all__ = [
    'add_run_arguments',
    'add_verbose_argument',
    'make_folder',
    'make_folder_of',
    'parse_size',
    'prepare_process',
    'run_cli',
]


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing have in common."""
    parser.add_argument('--work-dir', help='for logs and checkpoints (default: work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override config values, e.g. train_dataloader.batch_size=4 model.backbone.out_indices=[0,1,2,3]; '
        'values are Python literals or plain text',
    )
    add_verbose_argument(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_verbose_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--verbose``, which sets the environment variable that :func:`run_cli` reads."""
    parser.add_argument('--verbose', action=_Verbose, nargs=0, help='print the full traceback of an error')


class _Verbose(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> None:
        os.environ[TRACEBACK_VARIABLE] = '1'


def make_folder(name: str | Path, option: str) -> Path:
    """Make a folder, write a file of 4 KB into it and remove that again, and return the folder.

    Args:
        name: The folder.
        option: What the user set it with, for the error.

    Raises:
        UserError: If it cannot be made, or is not writable.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file tells more than permissions: it fails on full disks and read-only mounts. Each process has its own.
        probe = folder / f'.writable-{socket.gethostname()}-{os.getpid()}.tmp'
        probe.write_bytes(bytes(4096))
        probe.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f'{option} {name} cannot be written ({reason}): free some space, or name another folder'
        ) from error
    return folder


def make_folder_of(file: str | Path, option: str, suffixes: Sequence[str]) -> Path:
    """Make the folder of a file that will be written, and return the file.

    Raises:
        UserError: If the folder cannot be written to, the file is a folder, or its name ends in none of ``suffixes``.
    """
    path = Path(file)
    if path.suffix not in suffixes:
        raise UserError(f'{option} {file}: the name must end in {" or ".join(suffixes)}')
    if path.is_dir():
        raise UserError(f'{option} {file} is a folder: name a file')
    make_folder(path.parent, option)
    return path


def parse_size(text: str, axes: int = 2) -> tuple[int, ...]:
    """Return ``(800, 1344)`` for '800x1344'; one number stands for a square.

    Raises:
        UserError: If ``text`` is not of that form.
    """
    try:
        sizes = tuple(int(part) for part in text.split('x'))
    except ValueError:
        sizes = ()
    if len(sizes) == 1:
        sizes *= axes
    if len(sizes) != axes or min(sizes) < 1:
        raise UserError(f'size {text!r} is not of the form {"x".join(["N"] * axes)}')
    return sizes


def prepare_process(local_rank: int = 0) -> None:
    """Set the environment variables that have to be there before torch is imported.

    ``LOCAL_RANK`` serves launchers that pass it as an argument. OpenMP threads that wait actively take the core from
    the thread they wait for as soon as there are more threads than free cores (a data loader's worker is enough).
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')


_EXTRAS = {
    **dict.fromkeys(('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg'), ('onedl', 'openmmlab')),
    **dict.fromkeys(('matplotlib', 'PIL', 'pycocotools', 'rich', 'skimage'), ('shapes',)),
    **dict.fromkeys(('huggingface_hub', 'safetensors'), ('hub',)),
    **dict.fromkeys(('fvcore', 'sklearn', 'timm'), ('bench',)),
    'tensorboard': ('tensorboard',),
    'gradio': ('web',),
}
"""Extras of mmhyena that bring a package, by its import name."""


def missing_package(error: ModuleNotFoundError) -> UserError | None:
    """Return an error that says which extra brings a package that is not installed; None where none does."""
    name = (error.name or '').partition('.')[0]
    if name not in _EXTRAS:
        return None
    ways = ' or '.join(f"pip install 'mmhyena[{extra}]'" for extra in _EXTRAS[name])
    return UserError(f'this needs {name}, which is not installed: {ways}{", never both" if " or " in ways else ""}')


def run_cli(command: Callable[[], object]) -> int:
    """Run ``command`` and turn a :class:`UserError` into one line on stderr.

    Returns:
        The exit code: 0, or 2 for a :class:`UserError` or a package of our extras that is not installed. Any other
        exception keeps its traceback.
    """
    try:
        command()
    except (UserError, ModuleNotFoundError) as cause:
        error = missing_package(cause) if isinstance(cause, ModuleNotFoundError) else cause
        if error is None:
            raise
        if shows_tracebacks():
            traceback.print_exc()
        sys.stderr.write(f'error: {one_line(error)}\n')
        return 2
    return 0
