"""How many times faster than the formula a backbone could be if all but its matrix products took no time.

Linear layers and dense convolutions are the same in every implementation. Their time alone, on data in the caches, is a
lower bound of a forward's in float32, so the formula's time over it is what no work on the rest can exceed.

python -m benchmarks.upper_bound --size 800x1344
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor, nn

from benchmarks.harness import check_agreement, machine_facts, time_pairs, write_csv
from benchmarks.official_formula import as_official_formula
from mmhyena.backbones import HyenaFormer
from mmhyena.ops import linear
from mmhyena.utils.cli import parse_size, run_cli

ROOT = Path(__file__).resolve().parents[1]
# Elements of an output made at a time: they stay in the caches, and no memory is mapped anew.
TILE = 2**20


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='The formula against the matrix products that all sides share.')
    parser.add_argument(
        '--arch', nargs='+', choices=list(HyenaFormer.arch_settings), default=['hpx_former_s18', 'hb_former_s18']
    )
    parser.add_argument('--size', nargs='+', default=['224', '512', '800x1344'])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int)
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall')
    parser.add_argument('--csv', type=Path, default=ROOT / 'benchmarks/results/cpu_upper_bound.csv')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def shared_products(backbone: nn.Module, x: Tensor) -> list[Callable[[], Tensor]]:
    """Return every linear layer and dense convolution of a forward of ``x``, on random maps of their inputs' sizes.

    Raises:
        UserError: If a tiled product is not the layer's.
    """
    products, handles = [], []
    rows_of = cache(torch.randn)  # layers of one shape share a map, which is then in the caches

    def record(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        make = _convolution if isinstance(layer, nn.Conv2d) else _product
        products.append(make(layer, inputs[0], rows_of))

    for name, layer in backbone.named_modules():
        is_dense = isinstance(layer, nn.Conv2d) and layer.groups == 1
        # Filter networks are not counted: kernels are made once.
        if is_dense or (isinstance(layer, nn.Linear) and '.filter.' not in name):
            handles.append(layer.register_forward_hook(record))
    backbone(x)
    for handle in handles:
        handle.remove()
    return products


def _convolution(layer: nn.Conv2d, x: Tensor, rows_of: Callable[..., Tensor]) -> Callable[[], Tensor]:
    batch, channels, height, width = x.shape
    x = rows_of(batch, height, width, channels).permute(0, 3, 1, 2)  # channels last in memory
    return lambda: layer(x)


def _product(layer: nn.Linear, x: Tensor, rows_of: Callable[..., Tensor]) -> Callable[[], Tensor]:
    pixels = x.numel() // x.shape[-1]
    rows = rows_of(min(pixels, TILE // layer.out_features), x.shape[-1])
    times, rest = divmod(pixels, len(rows))
    check_agreement(['a shared product'], [linear(rows, layer.weight, layer.bias)], [layer.forward(rows)], 1e-5)

    def product() -> Tensor:
        for _ in range(times):
            y = linear(rows, layer.weight, layer.bias)
        return linear(rows[:rest], layer.weight, layer.bias) if rest else y

    return product


@torch.no_grad()
def measure(arch: str, size: Sequence[int], rounds: int, clock: str) -> dict:
    """Time shared products and formula in turn."""
    backbone = HyenaFormer(arch=arch).eval()
    official = as_official_formula(backbone).eval()
    x = torch.randn(1, 3, *size)
    products = shared_products(backbone, x)

    def multiply() -> None:
        for product in products:  # each result is dropped, so that the next one takes its memory
            product()

    timing = time_pairs(multiply, lambda: official(x), rounds=rounds, clock=clock)
    return dict(
        case=f'{arch} {"x".join(map(str, size))}',
        clock=clock,
        products_ms=f'{timing.first_ms:.1f}',
        official_ms=f'{timing.second_ms:.1f}',
        upper_bound=f'{timing.ratio:.2f}',
        quartiles=f'{timing.low:.2f}-{timing.high:.2f}',
    )


def run(args: argparse.Namespace) -> None:
    """Measure every case and write the csv."""
    if args.threads:
        torch.set_num_threads(args.threads)
    cases = [(arch, parse_size(size)) for size in args.size for arch in args.arch]
    rows = [measure(*case, args.rounds, args.clock) for case in track(cases, 'upper bound')]
    command = f'python -m benchmarks.upper_bound {shlex.join(args.argv)}'.strip()
    write_csv(args.csv, rows, machine_facts(), command)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code."""
    args = parse_args(argv)
    return run_cli(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
