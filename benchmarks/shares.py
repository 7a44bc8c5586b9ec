"""Where the time of a fused backbone goes on a CPU: the whole and its parts alone, in turn within one process.

    python -m benchmarks.shares hpx_former_s18 hb_former_s18 --size 224 --out benchmarks/results/cpu_shares.csv

Each figure is the least processor time of all rounds, on one thread. Parts alone find their weights and feature maps in
the caches more often than within the whole.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import cpu_ms, machine_facts, write_csv
from mmhyena.apis.fusing import fuse_for_inference
from mmhyena.backbones import HyenaFormer
from mmhyena.layers import LongConv
from mmhyena.layers.hyena import GatedMixer
from mmhyena.layers.metaformer import Downsample, StarReLU
from mmhyena.ops import depthwise_conv, linear, pack_weight
from mmhyena.utils.cli import run_cli

Calls = list[Callable[[], object]]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Time of a fused backbone and of its parts alone.')
    parser.add_argument('archs', nargs='+')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--out', metavar='CSV')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def recorded_inputs(model: nn.Module, x: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
    """Yield the parts of a model that are not fused, each with the input that it gets for the image ``x``."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.LayerNorm, StarReLU, LongConv, Downsample)
    inside = {part for outer in model.modules() if isinstance(outer, Downsample) for part in outer.children()}
    seen: list[tuple[nn.Module, Tensor]] = []
    model(x)  # filter networks run once
    handles = [
        part.register_forward_pre_hook(lambda part, args: seen.append((part, args[0].clone())))
        for part in model.modules()
        if isinstance(part, kinds) and part not in inside
    ]
    model(x)
    for handle in handles:
        handle.remove()
    yield from seen


def calls_of_parts(model: nn.Module, x: Tensor) -> dict[str, Calls]:
    """Return the calls of each kind of part, as the fused blocks make them."""
    short = {id(mixer.short_conv) for mixer in model.modules() if isinstance(mixer, GatedMixer)}
    parts: dict[str, Calls] = {}
    for part, u in recorded_inputs(model, x):
        if isinstance(part, nn.Linear):
            u = u.contiguous()
            rows = part.weight.detach().clone()  # fusing stores those of the parts by columns
            half, weight = u.bfloat16(), part.weight.detach().bfloat16()
            parts.setdefault('linear layers, weights by rows', []).append(
                lambda u=u, w=rows, p=part: linear(u, w, p.bias)
            )
            parts.setdefault('linear layers', []).append(lambda u=u, p=part: linear(u, p.weight, p.bias))
            parts.setdefault('linear layers in bfloat16', []).append(lambda u=half, w=weight: linear(u, w))
            packed = pack_weight(weight)
            parts.setdefault('linear layers in bfloat16, weights packed', []).append(
                lambda u=half, w=packed: linear(u, w)
            )
        elif isinstance(part, LongConv):
            parts.setdefault('long convolutions', []).append(lambda u=u, p=part: p(u))
        elif id(part) in short:
            wide, weight = (u, part.weight) if u.dim() == 4 else (u.unsqueeze(2), part.weight.unsqueeze(2))
            parts.setdefault('short convolutions', []).append(
                lambda u=wide, w=weight, p=part: depthwise_conv(u, w, p.bias)
            )
        elif isinstance(part, Downsample):
            parts.setdefault('downsampling', []).append(lambda u=u, p=part: p(u))
        elif isinstance(part, nn.LayerNorm):
            rows = u.contiguous()
            parts.setdefault('norms', []).append(
                lambda u=rows, p=part: F.layer_norm(u, p.normalized_shape, p.weight, p.bias)
            )
        elif isinstance(part, StarReLU):
            parts.setdefault('StarReLU', []).append(lambda u=u, p=part: p(u))
    return parts


def least_ms(contestants: dict[str, Calls], rounds: int) -> dict[str, float]:
    """Return the least processor time of each contestant in milliseconds, all of them timed in every round."""
    best = dict.fromkeys(contestants, float('inf'))
    for turn in range(rounds + 1):
        for name, calls in contestants.items():
            ms = cpu_ms(lambda calls=calls: [call() for call in calls])
            if turn:
                best[name] = min(best[name], ms)
    return best


@torch.no_grad()
def benchmark(args: argparse.Namespace) -> None:
    """Measure every arch, print the parts and write the file."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, square = torch.randn(1, 3, args.size, args.size), torch.randn(1024, 1024)
    half, rows = square.bfloat16(), []
    for arch in args.archs:
        model = HyenaFormer(arch).eval()
        parts = calls_of_parts(model, x)
        fuse_for_inference(model)
        contestants: dict[str, Calls] = {
            'whole': [lambda model=model: model(x)],
            **parts,
            '1024 x 1024 product': [lambda: square @ square],
            '1024 x 1024 product in bfloat16': [lambda: half @ half],
        }
        for name, ms in least_ms(contestants, args.rounds).items():
            rows.append(dict(arch=arch, size=args.size, part=name, ms=f'{ms:.2f}'))
            print(f'{arch} {args.size}: {name} {ms:.2f} ms', flush=True)
    if args.out:
        write_csv(args.out, rows, machine_facts(), 'python -m benchmarks.shares ' + shlex.join(args.argv))


if __name__ == '__main__':
    arguments = parse_args()
    sys.exit(run_cli(lambda: benchmark(arguments)))
