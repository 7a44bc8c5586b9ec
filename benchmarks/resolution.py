"""Time of a forward against the resolution, for Hyena-type and other networks, as csv and plot.

python -m benchmarks.resolution --threads 1 --clock cpu
"""

from __future__ import annotations

import argparse
import csv
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import timm
import torch
from rich.progress import track
from torch import nn

from benchmarks.harness import machine_facts, write_csv
from mmhyena.apis.fusing import fuse_for_inference
from mmhyena.backbones import HyenaFormer

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Time of a forward at batch 1 against the resolution.')
    parser.add_argument('--sizes', type=int, nargs='+', default=[224, 320, 448, 640, 896])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int)
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall')
    parser.add_argument('--csv', type=Path, default=ROOT / 'benchmarks/results/cpu_resolution.csv')
    parser.add_argument('--png', type=Path, default=ROOT / 'docs/images/resolution.png')
    parser.add_argument('--plot-only', action='store_true', help='draw the csv that is there')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def networks() -> dict[str, nn.Module]:
    """Return feature extractors of the same shell or size; attention is in all four stages of the MetaFormer."""
    attention = dict(HyenaFormer.arch_settings['hpx_former_s18'], token_mixers=[dict(type='Attention')] * 4)
    models = {
        'hpx_former_s18': HyenaFormer(arch='hpx_former_s18'),
        'hb_former_s18': HyenaFormer(arch='hb_former_s18'),
        'attention, same shell': HyenaFormer(arch=attention),
    }
    for name in ('convformer_s18', 'convnext_tiny'):
        models[f'{name} (timm)'] = timm.create_model(name)
        models[f'{name} (timm)'].forward = models[f'{name} (timm)'].forward_features
    for model in models.values():
        fuse_for_inference(model)
    return models


@torch.no_grad()
def measure(args: argparse.Namespace) -> list[dict]:
    """Time all networks in turn at each size."""
    clock = time.process_time if args.clock == 'cpu' else time.perf_counter
    models, rows = networks(), []
    for size in track(args.sizes, 'resolution'):
        x, times = torch.randn(1, 3, size, size), {name: [] for name in models}
        for turn in range(args.rounds + 1):
            for name, model in models.items():
                start = clock()
                model(x)
                if turn:  # the first fills caches
                    times[name].append((clock() - start) * 1e3)
        medians = {name: statistics.median(values) for name, values in times.items()}
        base = medians['convformer_s18 (timm)']
        rows += [
            dict(network=name, size=size, ms=f'{ms:.1f}', of_convformer=f'{ms / base:.2f}', clock=args.clock)
            for name, ms in medians.items()
        ]
    return rows


def draw(rows: Sequence[dict], path: Path) -> None:
    """Plot milliseconds against pixels a side, both on logarithmic axes."""
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout='constrained')
    for name in dict.fromkeys(row['network'] for row in rows):
        points = [(int(row['size']), float(row['ms'])) for row in rows if row['network'] == name]
        axes.plot(*zip(*points), marker='o', label=name, linewidth=2 if 'former_s18' in name else 1.2)
    sizes = sorted({int(row['size']) for row in rows})
    axes.set(
        xscale='log', yscale='log', xlabel='pixels a side', ylabel='ms an image', title='Forward, eval, batch 1, fp32'
    )
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure unless the csv is to be drawn as it is."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if not args.plot_only:
        write_csv(args.csv, measure(args), machine_facts(), 'python -m benchmarks.resolution ' + shlex.join(args.argv))
    with args.csv.open() as file:
        draw(list(csv.DictReader(file)), args.png)


if __name__ == '__main__':
    main()
