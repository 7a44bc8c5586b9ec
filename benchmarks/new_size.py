"""What a forward costs at an image size seen for the first time, against a size whose kernels are already transformed.

The weights are known in both cases, so a new size costs transforms and no filter network. Each round takes a size that
no round before has seen; its second forward is the known one.

python -m benchmarks.new_size hpx_former_s18 --start 320x416 --step 32 --rounds 9
python -m benchmarks.new_size hpx_former_s18 --start 960x960 --step 64 --rounds 1 --filter-resize
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
from collections.abc import Sequence

import torch

from benchmarks.harness import cpu_ms, machine_facts, write_csv
from mmhyena.backbones import HyenaFormer
from mmhyena.layers.kernel_cache import kernel_cache_bytes
from mmhyena.utils.cli import parse_size, run_cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Cost of an image size seen for the first time.')
    parser.add_argument('arch')
    parser.add_argument('--start', default='320x416', help='first image size')
    parser.add_argument('--step', type=int, default=32, help='pixels by which both axes grow per round')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument(
        '--filter-resize', action='store_true', help='resample kernels to the map: a new size runs networks as well'
    )
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', metavar='CSV')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


@torch.no_grad()
def benchmark(args: argparse.Namespace) -> None:
    """Time both forwards at every size and print the median ratio."""
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    model = HyenaFormer(args.arch, filter_resize=args.filter_resize or None).eval()
    height, width = parse_size(args.start)
    first = cpu_ms(lambda: model(torch.randn(1, 3, height, width)))
    model(torch.randn(1, 3, height, width))
    print(f'first forward of all, filter networks included, at {height}x{width}: {first:.0f} ms')
    rows = []
    for i in range(1, args.rounds + 1):
        x = torch.randn(1, 3, height + i * args.step, width + i * args.step)
        new = cpu_ms(lambda x=x: model(x))
        known = min(cpu_ms(lambda x=x: model(x)) for _ in range(2))
        size = f'{x.shape[2]}x{x.shape[3]}'
        rows.append(
            dict(arch=args.arch, size=size, new_ms=f'{new:.1f}', known_ms=f'{known:.1f}', ratio=f'{new / known:.3f}')
        )
        print(f'{size}: new {new:.1f} ms, known {known:.1f} ms, ratio {new / known:.2f}', flush=True)
    median = statistics.median(float(row['ratio']) for row in rows)
    print(f'median ratio {median:.2f}, kept {kernel_cache_bytes() / 2**20:.0f} MiB')
    if args.out:
        write_csv(args.out, rows, machine_facts('cpu'), 'python -m benchmarks.new_size ' + shlex.join(args.argv))


if __name__ == '__main__':
    arguments = parse_args()
    sys.exit(run_cli(lambda: benchmark(arguments)))
