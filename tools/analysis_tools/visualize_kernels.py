"""Draw the long kernels of a trained model, taps and spectra of the strongest channels, and measure how far they reach.

Writes a picture, and a csv with the share of each kernel's energy within 3, 7, 15 and 31 taps, its radius in taps, and
its sum, norm and frequency.

Examples:
    python tools/analysis_tools/visualize_kernels.py CONFIG CHECKPOINT
    python tools/analysis_tools/visualize_kernels.py CONFIG CHECKPOINT --spatial 80 80 --filter-resize extend
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, make_folder_of, prepare_process, run_cli

if TYPE_CHECKING:
    from mmhyena.analysis.kernels import KernelSummary

# Means over the channels: size of the sum over the taps, L2 norm, frequency in cycles per tap.
STATISTICS = ('sum', 'norm', 'frequency')
RESIZES: dict[str, Any] = {'resample': True, 'extend': 'extend'}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config the model was trained with')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--channels', type=int, default=4, help='channels drawn per layer (default: 4)')
    parser.add_argument('--spatial', nargs=2, type=int, metavar=('H', 'W'), help='feature map that kernels follow')
    parser.add_argument(
        '--filter-resize', choices=list(RESIZES), help='how they follow it (default: as the config says)'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/kernels.png'), help='picture; the csv lies beside it'
    )
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if args.channels < 1 or min(args.spatial or [1]) < 1:
        parser.error('--channels and --spatial must be positive')
    if args.filter_resize and not args.spatial:
        parser.error('--filter-resize needs --spatial')
    return args


def visualize(args: argparse.Namespace) -> None:
    """Write picture and csv."""
    from mmhyena.analysis.figures import kernel_figure
    from mmhyena.analysis.kernels import summarize_kernels
    from mmhyena.analysis.models import load_model, name_of
    from mmhyena.analysis.resolution import filter_resize

    make_folder_of(args.out, '--out', ('.png', '.pdf', '.svg'))
    model = load_model(args.config, args.checkpoint, 'cpu')
    try:
        with nullcontext() if args.filter_resize is None else filter_resize(model, RESIZES[args.filter_resize]):
            summaries = summarize_kernels(model, args.spatial)
    except ValueError as error:
        raise UserError(f'{args.config}: {error}') from error
    kernel_figure(summaries, args.channels, name_of(args.config)).savefig(args.out, dpi=130)
    table = args.out.with_suffix('.csv')
    write(table, summaries)
    print(f'{args.out} and {table} are written')


def write(path: Path, summaries: list[KernelSummary]) -> None:
    """Write how far every kernel reaches, how strong it is and how fast it oscillates."""
    from mmhyena.analysis.kernels import TAPS

    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['layer', 'stage', 'taps', 'radius', *(f'energy_within_{taps}' for taps in TAPS), *STATISTICS])
        for summary in summaries:
            taps = 'x'.join(map(str, summary.kernel.shape[1:]))
            shares = (f'{summary.share_within(width):.4f}' for width in TAPS)
            means = (abs(summary.sums()).mean(), summary.norms().mean(), summary.frequency())
            statistics = (f'{value:.4g}' for value in means)
            writer.writerow([summary.name, summary.stage, taps, f'{summary.radius():.3f}', *shares, *statistics])


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: visualize(args))


if __name__ == '__main__':
    sys.exit(main())
