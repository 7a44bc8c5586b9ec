"""Gated 2-D long convolutions, ours and those of other packages, against the official formula on torch.fft.

Outputs and gradients of every operator are compared with the formula first; if they disagree no speed is printed and
the exit code is 2. An operator whose package is not installed is skipped with a line that says so.

    python -m benchmarks.gated_conv --batch 64 --channels 64 --size 56 --kernel 111
    TRITON_INTERPRET=1 python -m benchmarks.gated_conv --device cpu --batch 1 --channels 2 --size 6 --kernel 11
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

# Largest relative error of outputs and gradients against the formula.
TOLERANCES = {torch.bfloat16: 3e-2, torch.float16: 5e-3, torch.float32: 1e-4}

LEAVES = 'u', 'pre', 'post', 'kernel', 'skip'
GatedConv = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]  # of LEAVES


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; the roofline's figures are an H200's."""
    parser = argparse.ArgumentParser(description='Gated long convolutions against the official formula on torch.fft.')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--channels', type=int, default=64)
    parser.add_argument('--size', type=int, default=56)
    parser.add_argument('--kernel', type=int, default=111)
    parser.add_argument(
        '--operators',
        nargs='+',
        choices=[*BACKENDS, 'nvsubquadratic'],
        default=['triton', 'fft', 'subq', 'nvsubquadratic'],
        help='what is compared with the formula: backends of mmhyena (subq: subquadratic-ops-torch), nvsubquadratic',
    )
    parser.add_argument(
        '--device', default='cuda', help='cuda; cpu tries the script out, with Triton in its interpreter'
    )
    parser.add_argument('--dtype', choices=['bfloat16', 'float16', 'float32'], default='bfloat16')
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--tflops', type=float, default=989.0, help='dense peak of the device in the given type')
    parser.add_argument('--gbytes', type=float, default=4800.0, help='memory bandwidth of the device in GB/s')
    parser.add_argument('--out', metavar='CSV')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def roofline_ms(args: argparse.Namespace) -> float:
    """Return the larger of the time for the real products and the time for three feature maps in and one out."""
    size, length = args.size, args.size + min(args.kernel // 2, args.size - 1)
    half = length // 2 + 1
    products = 2 * (2 * half * size * size) + 2 * (4 * half * length * size)  # both axes, there and back
    flops = 2 * products * args.batch * args.channels
    itemsize = torch.finfo(getattr(torch, args.dtype)).bits // 8
    moved = 4 * itemsize * args.batch * args.channels * size * size
    return max(flops / (args.tflops * 1e9), moved / (args.gbytes * 1e6))


def formula(u: Tensor, pre: Tensor, post: Tensor, k: Tensor, skip: Tensor) -> Tensor:
    """Return the gated long convolution by the official formula, its transforms on cuFFT or MKL."""
    return post * formula_long_conv(pre * u, k, skip)


def find_operator(name: str, case: ConvCase) -> GatedConv | str:
    """Return an operator by name, or the reason why it cannot be compared."""
    if name == 'nvsubquadratic':
        return _nvsubquadratic(case)
    if reason := BACKENDS[name].reason(case):
        return reason
    return lambda u, pre, post, k, skip: long_conv(u, k, skip, pre=pre, post=post, backend=name)


def _nvsubquadratic(case: ConvCase) -> GatedConv | str:
    """Return the FFT convolution of NVIDIA's nvSubquadratic between two gates."""
    try:
        from nvsubquadratic.ops.fftconv import fftconv2d_fp32_bhl
    except (ImportError, OSError, RuntimeError) as error:  # its binary parts fail so without a driver
        return f'nvsubquadratic cannot be imported: {error}'
    if any(axis.stop - axis.start > 2 * size for axis, size in zip(case.axes, case.spatial)):
        return 'nvsubquadratic takes kernels of at most twice the feature map'
    return lambda u, pre, post, k, skip: post * fftconv2d_fp32_bhl(pre * u, k[None], skip.to(u.dtype))


def measure(
    conv: GatedConv, name: str, leaves: Sequence[Tensor], weight: Tensor, args: argparse.Namespace
) -> list[dict]:
    """Compare an operator with the formula, then time both in turn."""

    def step(conv: GatedConv) -> tuple[Tensor, ...]:
        return torch.autograd.grad(conv(*leaves), leaves, weight)

    with torch.no_grad():
        got, want = conv(*leaves), formula(*leaves)
    names = [f'{name}: {what}' for what in ('output', *(f'gradient of {leaf}' for leaf in LEAVES))]
    error = check_agreement(names, [got, *step(conv)], [want, *step(formula)], TOLERANCES[weight.dtype])
    clock = 'cuda' if weight.is_cuda else 'wall'
    with torch.no_grad():
        forward = time_pairs(lambda: conv(*leaves), lambda: formula(*leaves), args.rounds, clock=clock)
    both = time_pairs(lambda: step(conv), lambda: step(formula), args.rounds, clock=clock)
    return [
        dict(
            operator=name,
            what=what,
            error=f'{error:.1e}',
            ms=f'{timing.first_ms:.3f}',
            formula_ms=f'{timing.second_ms:.3f}',
            ratio=f'{timing.ratio:.2f}',
            quartiles=f'{timing.low:.2f}-{timing.high:.2f}',
            of_roofline=f'{roofline_ms(args) / timing.first_ms:.0%}' if timing is forward and weight.is_cuda else '',
        )
        for what, timing in (('forward', forward), ('forward and backward', both))
    ]


def benchmark(args: argparse.Namespace) -> None:
    """Measure every operator that can run, print the rows and write the file."""
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError('no CUDA device is available; --device cpu tries the script out')
    torch.manual_seed(0)
    dtype, device = getattr(torch, args.dtype), torch.device(args.device)
    shape = (args.batch, args.channels, args.size, args.size)
    u, pre, post, weight = (torch.randn(shape, device=device, dtype=dtype) for _ in range(4))
    k = torch.randn(args.channels, args.kernel, args.kernel, device=device) / args.kernel
    skip = torch.randn(args.channels, device=device)
    case = ConvCase(*shape[:2], shape[2:], geometry(shape[2:], k.shape[1:]), dtype, device, False)
    leaves = [t.requires_grad_() for t in (u, pre, post, k, skip)]
    rows = []
    for name in args.operators:
        conv = find_operator(name, case)
        if isinstance(conv, str):
            print(f'{name}: skipped: {conv}')
            continue
        for row in measure(conv, name, leaves, weight, args):
            rows.append(row)
            print(row)
    if args.out and rows:
        command = 'python -m benchmarks.gated_conv ' + shlex.join(args.argv)
        write_csv(args.out, rows, machine_facts(args.device), command)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code."""
    args = parse_args(argv)
    return run_cli(lambda: benchmark(args))


if __name__ == '__main__':
    sys.exit(main())
