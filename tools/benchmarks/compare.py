"""Train and evaluate several backbones under one recipe, and compare accuracy, time and memory.

Every backbone takes the place of the one in the base config of the task (Shapes by default). Finished runs are kept in
a csv, an interrupted command continues where it stopped, and the report shows mean and standard deviation over seeds.

Examples:
    python tools/benchmarks/compare.py --task detection --backbones hpx hb convformer attention --seeds 3
    python tools/benchmarks/compare.py --task segmentation --backbones hpx_former_tiny timm:convnextv2_atto --seeds 1
    python tools/benchmarks/compare.py --task detection --config configs/hyenapixel/detection/CONFIG.py \
        --backbones hpx_former_s18 timm:convnext_tiny
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhyena.errors import UserError, one_line
from mmhyena.utils.cli import add_verbose_argument, make_folder, prepare_process, run_cli

if TYPE_CHECKING:
    from mmhyena.analysis.comparison import Records

ROOT = Path(__file__).resolve().parents[2]
COSTS = {
    'params_m': 'parameters (M)',
    'gmacs': 'multiply-accumulates (G)',
    'forward_ms': 'forward pass (ms)',
    'saved_mib': 'saved for backward (MiB)',
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', required=True, choices=['detection', 'segmentation', 'classification'])
    parser.add_argument('--backbones', required=True, nargs='+', metavar='NAME', help='mixers, archs or timm:MODEL')
    parser.add_argument('--config', help="base config (default: the task's on Shapes)")
    parser.add_argument('--seeds', type=int, default=3, help='runs per backbone, seeds 0 to N - 1 (default: 3)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/compare'), help='folder of runs, csv and plot')
    parser.add_argument('--size', nargs=2, type=int, default=[160, 160], metavar=('H', 'W'), help='of the cost columns')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for all runs alike')
    parser.add_argument('--per-stage', action='store_true', help='also write the costs of every stage of the backbones')
    parser.add_argument('--report', action='store_true', help='report finished runs, train nothing')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if args.seeds < 1 or min(args.size) < 32:
        parser.error('--seeds must be positive, --size at least 32 32')
    return args


def compare(args: argparse.Namespace) -> None:
    """Train what is missing and write the report."""
    from mmhyena.analysis.comparison import TASKS, Records
    from mmhyena.apis.config import load_config

    base, metrics = TASKS[args.task]
    config = Path(args.config) if args.config else ROOT / 'configs' / base
    settings = dict(task=args.task, config=config.name, size=args.size, options=sorted(args.cfg_options))
    make_folder(args.out, '--out')
    load_config(config)  # an error comes before the first run
    records = Records(args.out / f'{args.task}.csv', settings)
    # Seed by seed, so that an early stop leaves complete comparisons.
    runs = [(name, seed) for seed in range(args.seeds) for name in args.backbones]
    for number, (name, seed) in enumerate(runs, start=1):
        if args.report or records.find(name, seed):
            continue
        print(f'[{number}/{len(runs)}] {args.task}: {name}, seed {seed}', flush=True)
        records.add(run(args, config, name, seed, metrics))
    if not records.rows:
        raise UserError(f'no finished runs in {records.path}')
    report(args, records, metrics)
    if args.per_stage:
        write_stages(args, list(dict.fromkeys(row['backbone'] for row in records.rows)))


def write_stages(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Print and write what every stage of the backbones costs for one image."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from mmhyena.analysis.ablation import write_rows
    from mmhyena.analysis.comparison import backbone_config
    from mmhyena.analysis.profile import profile_stages
    from mmhyena.registry import MODELS

    image = torch.randn(1, 3, *args.size)
    rows = [
        dict(backbone=name) | row
        for name in names
        for row in profile_stages(MODELS.build(backbone_config(name)), lambda backbone: backbone(image))
    ]
    table = Table('backbone', 'part', *COSTS.values(), title='one image of {} x {}'.format(*args.size))
    for row in rows:
        table.add_row(str(row['backbone']), str(row['part']), *(f'{row[cost]:.3f}' for cost in COSTS))
    Console().print(table)
    path = args.out / f'{args.task}_stages.csv'
    write_rows(path, rows)
    print(f'{path} is written')


def run(args: argparse.Namespace, config: Path, name: str, seed: int, metrics: Sequence[str]) -> dict[str, Any]:
    """Train and evaluate one backbone, and return its row."""
    from mmhyena.analysis.comparison import backbone_config, feature_channels, set_backbone
    from mmhyena.analysis.profile import profile_backbone
    from mmhyena.apis.config import load_config
    from mmhyena.registry import MODELS

    backbone = backbone_config(name)
    cfg = load_config(config)
    try:
        channels = feature_channels(MODELS.build(dict(backbone)))
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        raise UserError(f'backbone {name} cannot be built: {one_line(error)}') from error
    set_backbone(cfg, backbone, channels)
    folder = args.out / args.task / name.replace(':', '-').replace('/', '-') / f'seed{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    derived = folder / 'config.py'
    cfg.dump(derived)

    options = ['--work-dir', folder, '--cfg-options', f'randomness.seed={seed}', *args.cfg_options]
    resume = ['--resume'] if (folder / 'last_checkpoint').exists() else []
    seconds = timed(folder, ['tools/train.py', derived, *resume, *options])
    checkpoint = (folder / 'last_checkpoint').read_text(encoding='utf-8').strip()
    figures = folder / 'metrics.json'
    call(folder / 'test.log', ['tools/test.py', derived, checkpoint, '--out', figures, *options])
    found = json.loads(figures.read_text(encoding='utf-8'))
    costs = profile_backbone(backbone, args.size)
    return dict(backbone=name, seed=seed) | {metric: found[metric] for metric in metrics} | costs | dict(
        train_seconds=round(seconds), threads=os.environ.get('OMP_NUM_THREADS', '')
    )  # fmt: skip


def timed(folder: Path, command: Sequence[object]) -> float:
    """Run a training and return its seconds, those before an interruption included."""
    file = folder / 'seconds.txt'
    before = float(file.read_text(encoding='utf-8')) if file.exists() else 0.0
    start = time.monotonic()
    try:
        call(folder / 'train.log', command)
    finally:
        total = before + time.monotonic() - start
        file.write_text(str(total), encoding='utf-8')
    return total


def call(log: Path, command: Sequence[object]) -> None:
    """Run a tool of this repository with its output in a log.

    Raises:
        UserError: If it fails, with its last line.
    """
    words = [sys.executable, str(ROOT / str(command[0])), *map(str, command[1:])]
    with log.open('a', encoding='utf-8') as file:
        code = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
    if code:
        last = log.read_text(encoding='utf-8').rstrip().rpartition('\n')[2]
        raise UserError(f'{command[0]} failed ({last}); whole output: {log}')


def report(args: argparse.Namespace, records: Records, metrics: Sequence[str]) -> None:
    """Print the table and draw the plot."""
    from rich.console import Console
    from rich.table import Table

    from mmhyena.analysis.comparison import summarize

    summary = summarize(records.rows, [*metrics, *COSTS])
    counts = {name: sum(row['backbone'] == name for row in records.rows) for name in summary}
    table = Table('backbone', 'seeds', *metrics, *COSTS.values(), title=f'{args.task}: mean and standard deviation')
    for name, columns in sorted(summary.items(), key=lambda item: -item[1][metrics[0]][0]):
        cells = ['{:.4g} ± {:.2g}'.format(*columns[metric]) for metric in metrics]
        table.add_row(name, str(counts[name]), *cells, *(f'{columns[cost][0]:.3g}' for cost in COSTS))
    Console().print(table)
    picture = args.out / f'{args.task}.png'
    plot(picture, summary, metrics[0])
    print(f'{records.path} and {picture} hold all finished runs')


def plot(path: Path, summary: dict[str, dict[str, tuple[float, float]]], metric: str) -> None:
    """Draw accuracy against every cost, with one standard deviation."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(COSTS), figsize=(3.6 * len(COSTS), 3.6), sharey=True)
    for axis, (cost, label) in zip(axes, COSTS.items()):
        for number, (name, columns) in enumerate(summary.items()):
            mean, deviation = columns[metric]
            marker = 'osD^vPX*<>'[number % 10]
            axis.errorbar(columns[cost][0], mean, deviation, marker=marker, capsize=3, label=name, ls='')
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(metric)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='lower center', ncols=min(len(labels), 7), frameon=False)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: compare(args))


if __name__ == '__main__':
    sys.exit(main())
