"""Where the time of a forward pass or a training step goes, by kind of operation: what a faster step could gain.

Times are those of PyTorch's profiler, without the operations called inside, on whatever threads there are; the least of
all rounds for each kind. The profiler itself takes some percent of a pass with thousands of operations.

    python -m benchmarks.profile_ops hpx_former_s18 --size 512 --batch 2 --mode train
    python -m benchmarks.profile_ops hpx_former_s18 hb_former_s18 --size 800x1344 --fuse
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import machine_facts, write_csv
from mmhyena.apis.fusing import fuse_for_inference
from mmhyena.backbones import HyenaFormer
from mmhyena.errors import UserError
from mmhyena.utils.cli import parse_size, run_cli

#: Kinds of operations, by parts of the names of PyTorch's operators. The first that fits counts.
KINDS: dict[str, tuple[str, ...]] = {
    'matrix products': ('_linear_pointwise', 'addmm', 'aten::mm', 'aten::bmm'),
    'convolutions': ('convolution', 'conv2d', 'conv1d'),
    'Fourier transforms': ('_fft_',),
    'norms': ('layer_norm',),
    'copies': ('copy_', 'aten::cat', 'fill_', 'aten::clone', 'aten::empty'),
    'elementwise operations and sums': ('aten::',),
    'calls': ('',),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Time of a backbone by kind of operation.')
    parser.add_argument('archs', nargs='+', choices=HyenaFormer.arch_settings, metavar='ARCH')
    parser.add_argument('--size', default='512', help='image size like 512 or 800x1344')
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--mode', choices=['eval', 'train'], default='eval')
    parser.add_argument('--fuse', action='store_true', help='fuse for inference')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, in --mode eval')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, help="torch's threads (default: all cores)")
    parser.add_argument('--out', metavar='CSV')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    if (args.fuse or args.amp) and args.mode == 'train':
        parser.error('--fuse and --amp are for --mode eval: a fused model cannot be trained')
    if min(args.batch, args.rounds) < 1:
        parser.error('--batch and --rounds must be positive')
    return args


def kind_of(operation: str) -> str:
    """Return the kind of an operator by its name."""
    return next(kind for kind, parts in KINDS.items() if any(part in operation for part in parts))


def time_by_kind(step: Callable[[], object]) -> dict[str, float]:
    """Return the milliseconds of one call by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    times: Counter[str] = Counter()
    for event in found.key_averages():
        times[kind_of(event.key)] += event.self_cpu_time_total / 1e3
    return dict(times)


def step_of(arch: str, args: argparse.Namespace) -> Callable[[], object]:
    """Return a forward pass without gradients, or a forward and backward pass, of an arch with random weights."""
    model = HyenaFormer(arch)
    x = torch.randn(args.batch, 3, *parse_size(args.size))
    if args.mode == 'eval':
        model.eval()
        if args.fuse:
            fuse_for_inference(model)
        return lambda: _evaluate(model, x, args.amp)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        torch.stack([out.square().mean() for out in model(x)]).sum().backward()

    model.train()
    return train


@torch.no_grad()
def _evaluate(model: HyenaFormer, x: torch.Tensor, amp: bool) -> None:
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        model(x)


def benchmark(args: argparse.Namespace) -> None:
    """Measure every arch, print its kinds and write the file."""
    if args.threads is not None:
        if args.threads < 1:
            raise UserError(f'--threads {args.threads}: give at least 1')
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows = []
    for arch in args.archs:
        step = step_of(arch, args)
        step()  # kernels and constants are there from now on
        rounds = [time_by_kind(step) for _ in range(args.rounds)]
        least = {kind: min(times.get(kind, 0.0) for times in rounds) for kind in KINDS}
        for kind, ms in least.items():
            share = ms / sum(least.values())
            rows.append(
                dict(arch=arch, size=args.size, batch=args.batch, mode=args.mode, fused=args.fuse, amp=args.amp)
                | dict(kind=kind, ms=f'{ms:.3f}', share=f'{share:.3f}')
            )
            print(f'{arch} {args.size}: {kind} {ms:.1f} ms, {share:.1%}', flush=True)
    if args.out:
        write_csv(args.out, rows, machine_facts(), 'python -m benchmarks.profile_ops ' + shlex.join(args.argv))


if __name__ == '__main__':
    arguments = parse_args()
    sys.exit(run_cli(lambda: benchmark(arguments)))
