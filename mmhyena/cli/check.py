"""Check the data of a config before anything is trained: mmhyena check CONFIG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, prepare_process, run_cli

if TYPE_CHECKING:
    from rich.console import Console

    from mmhyena.apis.checks.report import SplitReport

_SHOWN = 40


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=prog, description='Check the data of a config, and show what it holds.')
    parser.add_argument('config', help='config file of a classifier, detector or segmentor')
    parser.add_argument('--splits', nargs='+', choices=['train', 'val', 'test'], help='default: all there are')
    parser.add_argument('--num-images', type=int, help='image headers to read per split (default: 500)')
    parser.add_argument('--num-label-maps', type=int, help='label maps to read per split (default: 100)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config values')
    add_verbose_argument(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Show counts per class, dropped objects and sizes of each split, then all problems."""
    from rich.console import Console

    from mmhyena.apis.checks.data import inspect_data
    from mmhyena.apis.config import load_config, parse_overrides
    from mmhyena.apis.toolkits import use_toolkit

    cfg = load_config(args.config, parse_overrides(args.cfg_options))
    use_toolkit(cfg)
    settings = dict(cfg.get('data_check') or {})
    for name in ('num_images', 'num_label_maps'):
        number = getattr(args, name)
        if number is not None and number < 0:
            raise UserError(f'--{name.replace("_", "-")} {number}: give 0 or more')
        if number is not None:
            settings[name] = number
    cfg.data_check = settings
    splits = args.splits or [split for split in ('train', 'val', 'test') if cfg.get(f'{split}_dataloader')]
    if not splits:
        raise UserError(f'config {args.config} has no data: set train_dataloader, val_dataloader or test_dataloader')
    console = Console()
    reports = inspect_data(cfg, splits)
    for report in reports:
        show(report, console)
    problems = list(dict.fromkeys(problem for report in reports for problem in report.problems))
    for problem in problems:
        console.print(f'problem: {problem}', style='red', markup=False, soft_wrap=True)
    if problems:
        more = f' (and {len(problems) - 1} more above)' if len(problems) > 1 else ''
        raise UserError(f'{problems[0]}{more}')
    console.print('no problems found', style='green')


def show(report: SplitReport, console: Console) -> None:
    """Print what one data set holds."""
    from rich.table import Table

    images = '' if report.images is None else f', {report.images} images'
    console.print(f'[bold]{report.split}[/bold]: {report.kind}{images}', highlight=False)
    console.print(f'  {report.source or report.key}', markup=False, soft_wrap=True)
    if report.counts:
        table = Table('label', 'class', report.unit, 'share', box=None, padding=(0, 2))
        total = max(report.counts.total(), 1)
        for label, (name, count) in enumerate(list(report.counts.items())[:_SHOWN]):
            table.add_row(str(label), name, str(count), f'{count / total:.1%}')
        console.print(table)
        if len(report.counts) > _SHOWN:
            console.print(f'  and {len(report.counts) - _SHOWN} more classes')
    for reason, count in report.dropped.items():
        console.print(f'  left out: {count} {reason}')
    if report.sizes:
        widths, heights = [width for width, _ in report.sizes], [height for _, height in report.sizes]
        (width, height), often = report.sizes.most_common(1)[0]
        console.print(
            f'  sizes of {report.sizes.total()} images: {min(widths)} to {max(widths)} wide, {min(heights)} to '
            f'{max(heights)} high, most often {width} x {height} ({often})',
            soft_wrap=True,
        )
    for note in report.notes:
        console.print(f'  note: {note}', style='yellow', markup=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Check, and return the exit code."""
    args = parse_args(argv, prog)
    prepare_process()
    return run_cli(lambda: run(args))
