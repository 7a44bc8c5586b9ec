"""Time and peak memory of a forward pass against the size of the image: who can go how far?

Every measurement runs in a process of its own: it builds a network with random weights, runs a first and a second
forward pass on one image, and reports both times and the most memory that the passes added. Results are kept in a csv
as they come, so that an interrupted command continues where it stopped. Memory is read from /proc (Linux, CPU).

A size is not run, and its memory predicted instead, where the growth between the two sizes before it says that it
would not fit into this machine. The report extrapolates in the same way to the size at which a network needs more than
``--budget`` GiB; what is measured and what is predicted is said in every row.

python -m benchmarks.growth --threads 2
python -m benchmarks.growth --report
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.harness import machine_facts
from mmhyena.errors import UserError
from mmhyena.utils.cli import run_cli

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
FIELDS = ('network', 'size', 'status', 'first_s', 'second_s', 'peak_gib')


def _hyena(filter_resize: bool) -> Callable[[int], nn.Module]:
    def build(size: int) -> nn.Module:
        from mmhyena.apis.fusing import fuse_for_inference
        from mmhyena.backbones import HyenaFormer

        model = HyenaFormer(arch='hpx_former_s18', filter_resize=filter_resize).eval()
        fuse_for_inference(model)
        return model

    return build


def _timm(name: str, sized: bool = False, **kwargs: object) -> Callable[[int], nn.Module]:
    def build(size: int) -> nn.Module:
        import timm

        model = timm.create_model(name, num_classes=0, **kwargs, **(dict(img_size=size) if sized else {})).eval()
        model.forward = model.forward_features
        return model

    return build


#: What is compared, each built for one size of image.
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    'hpx_former_s18, taps of training': _hyena(False),
    'hpx_former_s18, global': _hyena(True),
    'convformer_s18': _timm('convformer_s18'),
    'convnext_tiny': _timm('convnext_tiny'),
    'swin_tiny': _timm('swin_tiny_patch4_window7_224', sized=True),
    'caformer_s18': _timm('caformer_s18'),
    'vit_small, patch 16': _timm('vit_small_patch16_224', dynamic_img_size=True),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sizes', type=int, nargs='+', default=[512, 1024, 2048, 4096], help='pixels a side')
    parser.add_argument('--networks', nargs='+', default=list(NETWORKS), choices=list(NETWORKS), metavar='NAME')
    parser.add_argument('--threads', type=int, help='default: as PyTorch chooses')
    parser.add_argument('--timeout', type=float, default=600, help='seconds per measurement (default: 600)')
    parser.add_argument('--budget', type=float, default=24, help='GiB that the report asks about (default: 24)')
    parser.add_argument('--csv', type=Path, default=ROOT / 'benchmarks/results/cpu_forward_growth.csv')
    parser.add_argument('--report', action='store_true', help='report the csv, measure nothing')
    parser.add_argument('--child', nargs=2, metavar=('NETWORK', 'SIZE'), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if min(args.sizes) < 32 or args.timeout <= 0 or args.budget <= 0:
        parser.error('--sizes must be at least 32, --timeout and --budget positive')
    return args


def forward_costs(model: nn.Module, x: torch.Tensor) -> dict[str, float]:
    """Return the seconds of a first and a second forward pass, and the GiB that they add at most."""
    with torch.no_grad():
        Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
        before = _status('VmRSS')
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            model(x)
            seconds.append(time.perf_counter() - start)
    peak = max(0, _status('VmHWM') - before) / GIB
    return dict(first_s=round(seconds[0], 4), second_s=round(seconds[1], 4), peak_gib=round(peak, 4))


def _status(name: str) -> int:
    """Return a figure of this process in bytes."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:')) * 1024


def available_gib() -> float:
    """Return the memory that a new process can have, GiB."""
    lines = Path('/proc/meminfo').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('MemAvailable:')) * 1024 / GIB


def growth_exponent(points: Sequence[tuple[int, float]]) -> float:
    """Return p of memory ~ size^p, from 2 (linear in the pixels) to 4, between the two largest of ``(size, GiB)``."""
    (small, low), (large, high) = sorted(points)[-2:]
    return min(4.0, max(2.0, math.log(high / low) / math.log(large / small)))


def predict_gib(points: Sequence[tuple[int, float]], size: int) -> float | None:
    """Return the GiB at ``size`` by the growth of the measured ``(size, GiB)``, or None with fewer than two of them."""
    if len(points) < 2:
        return None
    largest, gib = max(points)
    return gib * (size / largest) ** growth_exponent(points)


def largest_side(points: Sequence[tuple[int, float]], budget: float) -> float | None:
    """Return the side of the image at which the memory reaches ``budget`` GiB, predicted as in :func:`predict_gib`."""
    if len(points) < 2:
        return None
    largest, gib = max(points)
    return largest * (budget / gib) ** (1 / growth_exponent(points))


def measure(args: argparse.Namespace, rows: list[dict], facts: dict[str, str]) -> None:
    """Measure what the csv lacks, smallest size first."""
    known = {(row['network'], int(row['size'])) for row in rows}
    for size in sorted(args.sizes):
        for network in args.networks:
            if (network, size) in known:
                continue
            predicted = predict_gib(measured(rows, network), size)
            if predicted is not None and predicted > 0.9 * available_gib():
                found: dict[str, object] = dict(status='predicted', peak_gib=round(predicted, 2))
            else:
                found = run_child(args, network, size)
            row = {**dict.fromkeys(FIELDS, ''), 'network': network, 'size': size, **found, **facts}
            rows.append(row)
            append(args.csv, row)
            print(', '.join(f'{key}: {row[key]}' for key in FIELDS if row[key] != ''), flush=True)


def run_child(args: argparse.Namespace, network: str, size: int) -> dict[str, object]:
    """Measure in a new process; ``status`` is ``ok``, ``timeout`` or ``failed`` (out of memory, as a rule)."""
    command = [sys.executable, '-m', 'benchmarks.growth', '--child', network, str(size)]
    command += ['--threads', str(args.threads)] if args.threads else []
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=args.timeout)
    except subprocess.TimeoutExpired:
        return dict(status='timeout')
    if done.returncode:
        last = done.stderr.strip().rpartition('\n')[2] or f'exit code {done.returncode}'
        print(f'{network} at {size}: {last}', file=sys.stderr)
        return dict(status='failed')
    return dict(status='ok') | json.loads(done.stdout.strip().rpartition('\n')[2])


def measured(rows: Sequence[dict], network: str) -> list[tuple[int, float]]:
    """Return the measured ``(size, GiB)`` of a network."""
    found = [row for row in rows if row['network'] == network and row['status'] == 'ok']
    return [(int(row['size']), max(float(row['peak_gib']), 1e-3)) for row in found]


def append(path: Path, row: dict) -> None:
    """Add a row to the csv, with the names of its columns if it is the first."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(row), lineterminator='\n')
        if new:
            writer.writeheader()
        writer.writerow(row)


def summary(rows: Sequence[dict], budget: float) -> list[list[str]]:
    """Return a table, head first: times and memory of every network, and where it needs more than ``budget`` GiB."""
    sizes = sorted({int(row['size']) for row in rows})
    lines = [['network', *(f'{size}' for size in sizes), f'leaves {budget:g} GiB at']]
    for network in dict.fromkeys(row['network'] for row in rows):
        cells = []
        for size in sizes:
            row = next((r for r in rows if r['network'] == network and int(r['size']) == size), None)
            if row is None or row['status'] in ('timeout', 'failed'):
                cells.append('' if row is None else row['status'])
            elif row['status'] == 'predicted':
                cells.append(f'{float(row["peak_gib"]):.3g} GiB (predicted)')
            else:
                first, second, peak = (float(row[key]) for key in ('first_s', 'second_s', 'peak_gib'))
                cells.append(f'{second:.3g} s (first {first:.3g}), {peak:.3g} GiB')
        side = largest_side(measured(rows, network), budget)
        lines.append([network, *cells, 'unknown' if side is None else f'{side:.0f} (predicted)'])
    return lines


def report(rows: Sequence[dict], budget: float) -> None:
    """Print the summary."""
    from rich.console import Console
    from rich.table import Table

    head, *lines = summary(rows, budget)
    table = Table(*head)
    for line in lines:
        table.add_row(*line)
    Console(width=200).print(table)


def benchmark(args: argparse.Namespace) -> None:
    """Measure and report, or report alone; or one measurement as a child."""
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.child:
        network, size = args.child[0], int(args.child[1])
        torch.manual_seed(0)
        print(json.dumps(forward_costs(NETWORKS[network](size), torch.randn(1, 3, size, size))))
        return
    rows: list[dict] = []
    if args.csv.exists():
        with args.csv.open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
    if not args.report:
        if not Path('/proc/self/clear_refs').exists():
            raise UserError('peak memory is read from /proc/self: run this on Linux')
        measure(args, rows, machine_facts())
    if not rows:
        raise UserError(f'{args.csv} holds no measurements: run without --report')
    report(rows, args.budget)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code."""
    args = parse_args(argv)
    return run_cli(lambda: benchmark(args))


if __name__ == '__main__':
    sys.exit(main())
