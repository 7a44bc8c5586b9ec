"""Count the multiply-accumulates of a model, FFTs included, with the making of the long kernels apart.

Examples:
    mmhyena flops configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py --shape 160 160
    mmhyena flops --arch hpx_former_s18 --shape 384 384
    mmhyena flops --arch hpx_former_s18 --count official
    mmhyena flops configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py --shape 160 160 --per-stage --out stages.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, make_folder_of, run_cli

if TYPE_CHECKING:
    from mmhyena.analysis.counting import CountingTarget


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', nargs='?', help='config of a classifier, detector or segmentor')
    parser.add_argument('--arch', help='an architecture of HyenaFormer as a classifier, instead of a config')
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help='height and width, or one for both (default: 224, 800 1344 for detectors, 512 for segmentors)',
    )
    parser.add_argument(
        '--count',
        choices=['executed', 'official'],
        default='executed',
        help='what this implementation executes (default), or the count that the publication uses',
    )
    parser.add_argument(
        '--backend',
        choices=['fft', 'auto'],
        default='fft',
        help='long convolutions by FFT, the same on every machine (default), or as chosen for this one',
    )
    parser.add_argument(
        '--per-stage',
        action='store_true',
        help='parameters, operations, memory saved for backward and time of every stage, neck and head',
    )
    parser.add_argument('--out', type=Path, help='csv of --per-stage')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if (args.config is None) == (args.arch is None):
        parser.error('give either CONFIG or --arch')
    if args.shape and (len(args.shape) > 2 or min(args.shape) < 1):
        parser.error('--shape takes one or two positive numbers')
    if args.per_stage and (args.count, args.backend) != ('executed', 'fft'):
        parser.error('--per-stage counts what is executed by FFT: drop --count and --backend')
    if args.out and not args.per_stage:
        parser.error('--out is for --per-stage')
    return args


def get_flops(args: argparse.Namespace) -> None:
    """Print the count."""
    from rich.console import Console

    from mmhyena.analysis.counting import build_for_counting, count_executed, count_official

    if args.count == 'official' and args.backend != 'fft':
        raise UserError('--backend is for what is executed: drop it, or --count official')
    target = build_for_counting(args.config, args.arch, args.shape, args.count == 'official')
    height, width = target.shape
    if args.per_stage:
        profile(target, args.out)
        return
    if args.count == 'official':
        print(f'{target.name} at {height} x {width}: {count_official(target) / 1e9:.2f}G MACs (official count)')
        return
    count = count_executed(target, args.backend)
    Console().print(count.table())
    print(f'{target.name} at {height} x {width}: {count.total / 1e9:.2f}G MACs per forward pass,')
    print(f'and {count.kernels.total() / 1e9:.2f}G for the long kernels, once for given weights and size')
    print(f'(in training with every step). {target.parameters / 1e6:.2f}M parameters.')


def profile(target: CountingTarget, out: Path | None) -> None:
    """Print the costs of every part of a model, and write them."""
    from rich.console import Console
    from rich.table import Table

    from mmhyena.analysis.ablation import write_rows
    from mmhyena.analysis.counting import forward_of
    from mmhyena.analysis.profile import profile_stages

    if out:
        make_folder_of(out, '--out', ('.csv',))
    rows = profile_stages(target.model, forward_of(target))
    table = Table(
        'part',
        'parameters\n[M]',
        'operations\n[G MACs]',
        'saved for\nbackward [MiB]',
        'forward\n[ms]',
        title='{} at {} x {}'.format(target.name, *target.shape),
    )
    for row in rows:
        table.add_row(str(row['part']), *(f'{row[key]:.3f}' for key in list(row)[1:]))
    Console().print(table)
    if out:
        write_rows(out, rows)
        print(f'{out} is written')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Count, and return the exit code."""
    args = parse_args(argv, prog)
    return run_cli(lambda: get_flops(args))
