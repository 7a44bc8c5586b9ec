"""Evaluate a trained model with its long kernels cut to their central taps: which taps does it use?

Nothing is trained again, so the figures say what the taps beyond are worth to this model, not what a model trained with
short kernels reaches. Writes a csv and a plot.

Examples:
    python tools/analysis_tools/ablate_reach.py CONFIG CHECKPOINT
    python tools/analysis_tools/ablate_reach.py CONFIG CHECKPOINT --taps 1 3 7 15 31 --per-stage
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, make_folder_of, prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config the model was trained with')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--taps', nargs='+', type=int, default=[1, 3, 7, 15, 31], help='odd widths of what is kept')
    parser.add_argument('--per-stage', action='store_true', help='also cut one stage at a time')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/reach.csv'), help='csv; the plot lies beside it')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config values')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if any(taps < 1 or taps % 2 == 0 for taps in args.taps):
        parser.error('--taps takes odd positive numbers')
    return args


def ablate(args: argparse.Namespace) -> None:
    """Evaluate every reach, and write csv and plot."""
    from mmhyena.analysis.ablation import write_rows

    make_folder_of(args.out, '--out', ('.csv',))
    rows = [dict(stage='all', taps='all') | evaluate(args, None, None)]
    stages: list[int | None] = [None, *(find_stages(args) if args.per_stage else ())]
    for stage in stages:
        for taps in sorted(args.taps):
            name = 'all' if stage is None else str(stage)
            print(f'stage {name}: {taps} taps', flush=True)
            rows.append(dict(stage=name, taps=taps) | evaluate(args, taps // 2, stage))
    write_rows(args.out, rows)
    picture = args.out.with_suffix('.png')
    plot(picture, rows)
    print(f'{args.out} and {picture} are written')


def evaluate(args: argparse.Namespace, reach: int | None, stage: int | None) -> dict[str, float]:
    """Return the metrics with a limited reach."""
    from mmhyena.analysis.ablation import evaluate_under
    from mmhyena.analysis.reach import LimitReachHook
    from mmhyena.apis.config import parse_overrides

    hook = LimitReachHook(reach, None if stage is None else [stage])
    try:
        return evaluate_under(hook, args.config, args.checkpoint, parse_overrides(args.cfg_options))
    except ValueError as error:
        raise UserError(f'{args.config}: {error}') from error


def find_stages(args: argparse.Namespace) -> list[int]:
    """Return the stages that have long convolutions."""
    from mmhyena.analysis.models import load_model
    from mmhyena.analysis.reach import long_convs, stage_of

    stages = {stage_of(name) for name in long_convs(load_model(args.config, args.checkpoint, 'cpu'))}
    return sorted(stage for stage in stages if stage is not None)


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the first metrics against the taps kept, a line for each stage that was cut."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    from mmhyena.analysis.ablation import main_metrics

    metrics = main_metrics(rows[0], ('stage', 'taps'))
    figure, axes = plt.subplots(1, len(metrics), figsize=(4.6 * len(metrics), 3.8), squeeze=False)
    for axis, metric in zip(axes[0], metrics):
        axis.axhline(rows[0][metric], color='0.4', ls=':', label='all taps')
        for stage in dict.fromkeys(row['stage'] for row in rows[1:]):
            points = [(row['taps'], row[metric]) for row in rows[1:] if row['stage'] == stage]
            label = 'all stages' if stage == 'all' else f'stage {int(stage) + 1} alone'
            axis.plot(*zip(*points), marker='o', ms=4, label=label)
        axis.set(xscale='log', xlabel='central taps kept', ylabel=metric)
        ticks = sorted({row['taps'] for row in rows[1:]})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: ablate(args))


if __name__ == '__main__':
    sys.exit(main())
