"""Time of every backend of the long convolution beside the cost that it states, in nanoseconds per channel.

python -m benchmarks.backends
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.harness import machine_facts, write_csv
from mmhyena.ops import BACKENDS, long_conv, prepare_kernel, prepared_long_conv
from mmhyena.ops.geometry import ConvCase, geometry
from mmhyena.utils.cli import run_cli

# Pixels per side and taps: stages of HyenaPixel at 224 pixels and above, kernels as large as the map and smaller.
SIZES = [(7, 13), (10, 19), (14, 27), (16, 31), (20, 39), (28, 55), (25, 13), (33, 27), (50, 27), (56, 111)]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Measured time and stated cost of the backends.')
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--channels', type=int, default=128)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--out', metavar='CSV')
    return parser.parse_args(argv)


def nanoseconds(function: Callable[[], object], rounds: int) -> float:
    """Return the median CPU time of a call, which other processes disturb less than the time on the wall."""
    function()
    times = []
    for _ in range(rounds):
        start = time.process_time_ns()
        function()
        times.append(time.process_time_ns() - start)
    return statistics.median(times)


def measure(args: argparse.Namespace, side: int, taps: int) -> list[dict]:
    """Return a row for each backend of the CPU."""
    shape = args.batch, args.channels, side, side
    u, weight = (torch.randn(shape).to(memory_format=torch.channels_last) for _ in range(2))
    k = torch.randn(args.channels, taps, taps)
    axes = geometry(shape[2:], k.shape[1:])
    rows = []
    for name, backend in BACKENDS.items():
        cases = [ConvCase(*shape[:2], shape[2:], axes, u.dtype, u.device, constant) for constant in (True, False)]
        if backend.reason(cases[0]) or min(map(backend.cost, cases)) > 1e6:
            continue
        prepared = prepare_kernel(k, None, shape[2:], backend=name)
        leaves = [t.clone().requires_grad_() for t in (u, k)]

        def step(name: str = name, leaves: list[Tensor] = leaves) -> None:
            torch.autograd.grad(long_conv(*leaves, backend=name), leaves, weight)

        per = args.batch * args.channels
        with torch.no_grad():
            forward = nanoseconds(lambda kernel=prepared: prepared_long_conv(u, kernel), args.rounds) / per
        row = dict(backend=name, map=side, taps=taps, prepared_ns=round(forward), cost=round(backend.cost(cases[0])))
        if backend.cost(cases[1]) < 1e6:
            row.update(
                training_ns=round(nanoseconds(step, args.rounds) / per), training_cost=round(backend.cost(cases[1]))
            )
        rows.append(row)
        print(row, flush=True)
    return rows


def benchmark(args: argparse.Namespace) -> None:
    """Measure and print all sizes."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = [row for side, taps in SIZES for row in measure(args, side, taps)]
    if args.out:
        command = f'python -m benchmarks.backends --batch {args.batch} --channels {args.channels}'
        columns = list(dict.fromkeys(name for row in rows for name in row))
        write_csv(args.out, [{c: row.get(c, '') for c in columns} for row in rows], machine_facts('cpu'), command)


if __name__ == '__main__':
    arguments = parse_args()
    sys.exit(run_cli(lambda: benchmark(arguments)))
