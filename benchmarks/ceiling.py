"""How many times faster than the formula a backbone could be if all but its matrix products took no time.

Linear layers and dense convolutions are the same in every implementation. Their time alone, on data in the caches, is a
lower bound of a forward's in float32, so the formula's time over it is what no work on the rest can exceed.

python benchmarks/ceiling.py --size 800x1344
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from official_formula import as_official_formula
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
    parser.add_argument(
        '--arch', nargs='+', choices=list(HyenaFormer.arch_settings), default=['hpx_former_s18', 'hb_former_s18']
    )
    parser.add_argument('--size', nargs='+', type=image_size, default=[(224, 224), (512, 512), (800, 1344)])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--csv', type=Path, default=ROOT / 'benchmarks/results/cpu_ceiling.csv')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def image_size(text: str) -> tuple[int, int]:
    """Return ``(800, 1344)`` for '800x1344', and ``(224, 224)`` for '224'."""
    height, _, width = text.partition('x')
    try:
        return int(height), int(width or height)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form N or NxN') from None


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
def measure(arch: str, size: tuple[int, int], rounds: int) -> dict:
    """Time shared products and formula in turn."""
    backbone = HyenaFormer(arch=arch).eval()
    official = as_official_formula(backbone).eval()
    x = torch.randn(1, 3, *size)
    products = shared_products(backbone, x)
    timing = time_pairs(lambda: [product() for product in products], lambda: official(x), rounds=rounds)
    return dict(
        case=f'{arch} {size[0]}x{size[1]}',
        products_ms=f'{timing.first_ms:.1f}',
        official_ms=f'{timing.second_ms:.1f}',
        ceiling=f'{timing.ratio:.2f}',
        quartiles=f'{timing.low:.2f}-{timing.high:.2f}',
    )


def main() -> None:
    """Measure and write the csv."""
    args = parse_args()
    command = f'python benchmarks/ceiling.py {shlex.join(args.argv)}'.strip()
    cases = [(arch, size) for size in args.size for arch in args.arch]
    rows = [measure(*case, args.rounds) for case in track(cases, 'ceiling')]
    write_csv(args.csv, rows, machine_facts(), command)


if __name__ == '__main__':
    main()
