"""The fused gated 2-D long convolution on a GPU against the official formula, with the roofline bound.

python -m benchmarks.gated_conv --batch 64 --channels 64 --size 56 --kernel 111
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.harness import check_agreement, machine_facts, time_pairs, write_csv
from benchmarks.official_formula import formula_long_conv
from mmhyena.errors import UserError
from mmhyena.ops import BACKENDS, long_conv
from mmhyena.ops.geometry import ConvCase, geometry
from mmhyena.utils.cli import run_cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; the roofline's figures are an H200's."""
    parser = argparse.ArgumentParser(description='Fused gated long convolution against the official formula.')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--channels', type=int, default=64)
    parser.add_argument('--size', type=int, default=56)
    parser.add_argument('--kernel', type=int, default=111)
    parser.add_argument('--backend', choices=BACKENDS, default='triton', help='what is compared with the formula')
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--tflops', type=float, default=989.0, help='dense bfloat16 peak of the device')
    parser.add_argument('--gbytes', type=float, default=4800.0, help='memory bandwidth of the device in GB/s')
    parser.add_argument('--out', metavar='CSV')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def roofline_ms(args: argparse.Namespace) -> float:
    """Return the larger of the time for the real products and the time for three maps in and one out."""
    size, length = args.size, args.size + min(args.kernel // 2, args.size - 1)
    half = length // 2 + 1
    products = 2 * (2 * half * size * size) + 2 * (4 * half * length * size)  # both axes, there and back
    flops = 2 * products * args.batch * args.channels
    moved = 4 * 2 * args.batch * args.channels * size * size
    return max(flops / (args.tflops * 1e9), moved / (args.gbytes * 1e6))


def benchmark(args: argparse.Namespace) -> None:
    """Compare, time and print."""
    if not torch.cuda.is_available():
        raise UserError('no CUDA device is at hand; the kernel is tested on a CPU by tests/ops/triton')
    torch.manual_seed(0)
    shape = (args.batch, args.channels, args.size, args.size)
    u, pre, post, weight = (torch.randn(shape, device='cuda', dtype=torch.bfloat16) for _ in range(4))
    k = torch.randn(args.channels, args.kernel, args.kernel, device='cuda') / args.kernel
    skip = torch.randn(args.channels, device='cuda')
    case = ConvCase(*shape[:2], shape[2:], geometry(shape[2:], k.shape[1:]), u.dtype, u.device, False)
    if reason := BACKENDS[args.backend].reason(case):
        raise UserError(f'backend {args.backend!r} cannot be used: {reason}')
    leaves = [t.requires_grad_() for t in (u, pre, post, k, skip)]

    def ours() -> Tensor:
        return long_conv(u, k, skip, pre=pre, post=post, backend=args.backend)

    def formula() -> Tensor:
        return post * formula_long_conv(pre * u, k, skip)

    def step(forward: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: torch.autograd.grad(forward(), leaves, weight)

    names = ['output', *(f'gradient {i}' for i in range(len(leaves)))]
    check_agreement(names, [ours(), *step(ours)()], [formula(), *step(formula)()], tolerance=2e-2)
    with torch.no_grad():
        forward = time_pairs(ours, formula, args.rounds, clock='cuda')
    both = time_pairs(step(ours), step(formula), args.rounds, clock='cuda')
    bound = roofline_ms(args)
    rows = [
        dict(what=what, ours_ms=f'{t.first_ms:.3f}', formula_ms=f'{t.second_ms:.3f}', ratio=f'{t.ratio:.2f}')
        for what, t in (('forward', forward), ('forward and backward', both))
    ]
    rows[0]['of_roofline'] = f'{bound / forward.first_ms:.0%}'
    for row in rows:
        print(row)
    if args.out:
        write_csv(args.out, rows, machine_facts('cuda'), 'python -m benchmarks.gated_conv ' + shlex.join(args.argv))


if __name__ == '__main__':
    arguments = parse_args()
    sys.exit(run_cli(lambda: benchmark(arguments)))
