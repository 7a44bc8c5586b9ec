"""How many times faster than the formula a backbone could be if all but its matrix products took no time.

Linear layers and dense convolutions are the same in every implementation. Their time alone, on data in the caches, is a
lower bound of a forward's in float32, so the formula's time over it is what no work on the rest can exceed.

python benchmarks/ceiling.py --size 800x1344
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from rich.progress import track
from torch import Tensor, nn

from mmhyena.apis.benchmark import check_agreement, machine_facts, time_pairs, write_csv
from mmhyena.backbones import HyenaFormer
from mmhyena.ops import linear

ROOT = Path(__file__).resolve().parents[1]
# Elements of an output made at a time: they stay in the caches, and no memory is mapped anew.
TILE = 2**20


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='The formula against the matrix products that all sides share.')
    parser.add_argument('archs', nargs='*', default=['hpx_former_s18', 'hb_former_s18'])
    parser.add_argument('--size', nargs='+', default=['224', '512', '800x1344'])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--csv', type=Path, default=ROOT / 'benchmarks/results/cpu_ceiling.csv')
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


def load_formula() -> ModuleType:
    """Return the module that makes the formula of a backbone, which is beside this file."""
    spec = importlib.util.spec_from_file_location('official_formula', ROOT / 'benchmarks/official_formula.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def measure(arch: str, size: str, rounds: int) -> dict:
    """Time shared products and formula in turn."""
    backbone = HyenaFormer(arch=arch).eval()
    official = load_formula().as_official_formula(backbone).eval()
    height, _, width = size.partition('x')
    x = torch.randn(1, 3, int(height), int(width or height))
    products = shared_products(backbone, x)
    timing = time_pairs(lambda: [product() for product in products], lambda: official(x), rounds=rounds)
    return dict(
        case=f'{arch} {size}',
        products_ms=f'{timing.first_ms:.1f}',
        official_ms=f'{timing.second_ms:.1f}',
        ceiling=f'{timing.ratio:.2f}',
        quartiles=f'{timing.low:.2f}-{timing.high:.2f}',
    )


def main() -> None:
    """Measure and write the csv."""
    args = parse_args()
    command = f'python benchmarks/ceiling.py {shlex.join(args.argv)}'.strip()
    cases = [(arch, size) for size in args.size for arch in args.archs]
    rows = [measure(*case, args.rounds) for case in track(cases, 'ceiling')]
    write_csv(args.csv, rows, machine_facts(), command)


if __name__ == '__main__':
    main()
