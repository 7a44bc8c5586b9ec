"""Predicted throughput of data-parallel training on up to 1024 GPUs: python -m benchmarks.scaling. Nothing is measured.

Assumptions, all of them arguments: a step of one GPU takes ``--step`` seconds, of which ``--backward`` is the share
behind which gradients can be sent. Gradients are all-reduced as a ring in float32, 2 (n - 1) / n of their bytes over
the slowest link: within a node that of its GPUs, between nodes the network's share of each GPU. Every ring step costs
``--latency``. Data loading, stragglers and validation are not in it; measured runs are slower.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence

GPUS = (1, 8, 16, 64, 256, 1024)


def step_seconds(
    gpus: int, parameters: float, step: float, backward: float, node: float, network: float, latency: float
) -> tuple[float, float]:
    """Return the time of a step and of its all-reduce alone, in seconds.

    Args:
        gpus: Number of GPUs, eight per node.
        parameters: Trained parameters; four bytes each are exchanged.
        step: Seconds of a step on one GPU.
        backward: Share of ``step`` that hides communication.
        node: Bytes per second between two GPUs of a node.
        network: Bytes per second per GPU between nodes.
        latency: Seconds per step of the ring.
    """
    if gpus == 1:
        return step, 0.0
    bandwidth = node if gpus <= 8 else network
    exchange = 2 * (gpus - 1) / gpus * 4 * parameters / bandwidth + 2 * (gpus - 1) * latency
    return step + max(0.0, exchange - backward * step), exchange


def main(argv: Sequence[str] | None = None) -> int:
    """Write one row per number of GPUs as CSV."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument('--parameters', type=float, default=26.2e6, help='trained parameters')
    parser.add_argument('--step', type=float, default=0.3, help='seconds of a step on one GPU')
    parser.add_argument('--backward', type=float, default=0.5, help='share of a step that hides communication')
    parser.add_argument('--node', type=float, default=200e9, help='bytes per second between GPUs of a node')
    parser.add_argument('--network', type=float, default=25e9, help='bytes per second per GPU between nodes')
    parser.add_argument('--latency', type=float, default=10e-6, help='seconds per step of the ring')
    args = parser.parse_args(argv)
    writer = csv.writer(sys.stdout, lineterminator='\n')
    writer.writerow(['gpus', 'all_reduce_ms', 'step_ms', 'efficiency_percent'])
    for gpus in GPUS:
        seconds, exchange = step_seconds(gpus, **{'parameters': args.parameters, **_links(args)})
        efficiency = 100 * args.step / seconds
        writer.writerow([gpus, round(1000 * exchange, 1), round(1000 * seconds, 1), round(efficiency, 1)])
    return 0


def _links(args: argparse.Namespace) -> dict[str, float]:
    return {name: getattr(args, name) for name in ('step', 'backward', 'node', 'network', 'latency')}


if __name__ == '__main__':
    sys.exit(main())
