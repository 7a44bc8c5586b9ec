"""Compare the speed and memory of operators, backbones and whole models with the official formula and other baselines.

Both sides run in turn within one process and the ratio's median and quartiles are shown. Outputs (and gradients, when
training) are compared with the official formula first; if they disagree no speed is printed and the exit code is 2.

    python -m benchmarks.compare op 64x56x56 --kernel 111
    python -m benchmarks.compare backbone hpx_former_s18 --size 512 --mode train --batch 2
    python -m benchmarks.compare backbone hpx_former_s18 --size 224 512 800x1344 --fuse --against elementary official
    python -m benchmarks.compare backbone hb_former_s18 --size 224 --fuse --amp --against elementary convformer convnext
    python -m benchmarks.compare backbone hpx_former_s18 --size 224 --batch 1 8 --fuse --official ../HyenaPixel
    python -m benchmarks.compare model configs/shapes/upernet_hpx-former-tiny_shapes.py --mode train
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from benchmarks.harness import (
    check_agreement,
    machine_facts,
    peak_bytes,
    relative_error,
    saved_bytes,
    time_pairs,
    write_csv,
)
from benchmarks.loss_step import LossStep
from benchmarks.official_code import OfficialFeatures
from benchmarks.official_formula import as_official_formula
from mmhyena.apis.config import load_config
from mmhyena.apis.fusing import fuse_for_inference
from mmhyena.backbones import HyenaFormer
from mmhyena.errors import UserError
from mmhyena.layers import LongConv
from mmhyena.registry import MODELS
from mmhyena.utils.cli import make_folder_of, parse_size, run_cli

PEERS = dict(convformer='convformer_s18', convnext='convnext_tiny')
"""Networks of timm of a similar size, by the names that ``--against`` takes."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Speed and memory against the official formula and other networks.')
    parser.add_argument('what', choices=['op', 'backbone', 'model'])
    parser.add_argument(
        'target',
        nargs='+',
        help='op: maps like 64x56x56; backbone: an arch; model: a config file, evaluated up to its neck, trained whole',
    )
    parser.add_argument('--mode', choices=['eval', 'train', 'memory'], default='eval')
    parser.add_argument(
        '--against',
        nargs='+',
        default=['official'],
        help='official (formula), elementary (the same model, neither fused nor compiled), convformer or convnext '
        '(timm), or config files (default: official)',
    )
    parser.add_argument(
        '--official',
        metavar='PATH',
        help='checkout of the HyenaPixel repository: its code takes the place of the official formula for backbones',
    )
    parser.add_argument('--fuse', action='store_true', help='fuse ours for inference (mmhyena.apis.fuse_for_inference)')
    parser.add_argument('--size', nargs='+', default=['224'], help='image sizes like 512 or 800x1344')
    parser.add_argument('--kernel', nargs='+', type=int, default=[111], help='op: taps on each axis, one for each map')
    parser.add_argument('--batch', nargs='+', type=int, default=[1])
    parser.add_argument('--rounds', type=int, default=15, help='timed pairs')
    parser.add_argument('--warmup', type=int, default=3, help='pairs before them')
    parser.add_argument('--threads', type=int, help="torch's threads (default: all cores)")
    parser.add_argument(
        '--clock', choices=['wall', 'cpu'], default='wall', help='cpu: processor time, for a busy machine'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument(
        '--amp', action='store_true', help='bfloat16 autocast on both sides; the error against float32 is shown as well'
    )
    parser.add_argument('--compile', action='store_true', help='torch.compile all but elementary')
    parser.add_argument(
        '--tolerance',
        type=float,
        help='largest relative error (default: 1e-4; gradients of a model 5e-3, with --amp 5e-2)',
    )
    parser.add_argument('--out', metavar='CSV', help='write the rows with machine, versions and command')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


@dataclass
class Case:
    """A model and an input, the official formula, which has to agree, and the baselines, one row each."""

    name: str
    ours: nn.Module
    official: nn.Module
    baselines: dict[str, nn.Module]
    x: Tensor


def op_cases(args: argparse.Namespace) -> Iterator[Case]:
    """Yield a HyenaPixel long convolution for every map and kernel."""
    kernels = args.kernel * len(args.target) if len(args.kernel) == 1 else args.kernel
    if len(kernels) != len(args.target):
        raise UserError(f'--kernel needs one number or one for each map, got {len(kernels)} for {len(args.target)}')
    if args.against != ['official'] or args.fuse:
        raise UserError('op takes neither --fuse nor a baseline other than --against official')
    for text, taps in zip(args.target, kernels):
        channels, *spatial = parse_size(text, axes=3)
        filter = dict(type='ImplicitFilter', position=dict(type='SinCosPosition', dim=32), width=64, depth=3)
        module = LongConv(channels, (taps, taps), filter, dict(type='RadialWindow'))
        official = as_official_formula(module)
        for batch in args.batch:
            x = torch.randn(batch, channels, *spatial)
            yield Case(f'{text} k{taps}', module, official, dict(official=official), x)


def network_cases(args: argparse.Namespace) -> Iterator[Case]:
    """Yield every backbone or model at every size."""
    for target in args.target:
        if args.what == 'backbone':
            if target not in HyenaFormer.arch_settings:
                raise UserError(f'arch {target!r} is unknown; choose one of {", ".join(HyenaFormer.arch_settings)}')
            model = HyenaFormer(arch=target)
        else:
            model = _from_config(target, args)
        official = OfficialFeatures(target, model, args.official) if args.official else as_official_formula(model)
        baselines = {against: _baseline(against, model, official, args) for against in args.against}
        if args.fuse:
            fuse_for_inference(model)
        for size, batch in product(args.size, args.batch):
            x = torch.randn(batch, 3, *parse_size(size))
            yield Case(f'{Path(target).stem} {size}', model, official, baselines, x)


def _from_config(path: str, args: argparse.Namespace) -> nn.Module:
    """Return the losses of a config's model if whole models are trained, else its features."""
    cfg = load_config(path)
    return LossStep(cfg) if _trains_models(args) else _features(cfg, path)


def _trains_models(args: argparse.Namespace) -> bool:
    return args.what == 'model' and args.mode != 'eval'


def _features(cfg: dict, name: str) -> nn.Module:
    """Return the part of a config's model that maps an image to features: backbone, and neck if there is one."""
    if 'backbone' not in cfg.get('model', {}):
        raise UserError(f'config {name} has no model.backbone to measure')
    layers = [MODELS.build(cfg.model.backbone)]
    if cfg.model.get('neck'):
        layers.append(MODELS.build(cfg.model.neck))
    return nn.Sequential(*layers)


def _baseline(against: str, model: nn.Module, official: nn.Module, args: argparse.Namespace) -> nn.Module:
    if against == 'official':
        return official
    if against == 'elementary':
        return copy.deepcopy(model)
    if against.endswith('.py'):
        return _from_config(against, args)
    if against not in PEERS:
        raise UserError(f'--against {against} is not official, elementary, {", ".join(PEERS)} or a config file (*.py)')
    try:
        import timm
    except ImportError as error:
        raise UserError(f'--against {against} needs timm: pip install timm') from error
    peer = timm.create_model(PEERS[against])
    peer.forward = peer.forward_features
    return peer


def run_case(case: Case, args: argparse.Namespace) -> list[dict]:
    """Check the agreement with the official formula, then measure against every baseline."""
    for module in (case.ours, case.official, *case.baselines.values()):
        module.to(args.device).train(args.mode != 'eval')
    x = case.x.to(args.device)
    error = _agreement(case, x, args, args.tolerance or _tolerance(args))
    clock = 'cuda' if x.is_cuda else args.clock
    shared = dict(case=case.name, mode=args.mode, batch=len(x), fused=args.fuse, clock=clock, error=f'{error:.1e}')
    if args.compile:
        shared.update(compiled=True)
    if args.amp:
        shared.update(amp='bfloat16', error_to_float32=_error_to_float32(case.ours, x, args))
    measure = _compare_memory if args.mode == 'memory' else _compare_time
    rows = []
    for name, baseline in case.baselines.items():
        against = 'official code' if name == 'official' and args.official else name
        ours = case.ours
        if args.compile and args.mode != 'memory':
            ours, baseline = torch.compile(ours), baseline if name == 'elementary' else torch.compile(baseline)
        rows.append(dict(shared, against=against, **measure(ours, baseline, x, args)))
    return rows


def _compare_memory(ours: nn.Module, baseline: nn.Module, x: Tensor, args: argparse.Namespace) -> dict:
    first, second = (_memory(module, x, args) / 2**20 for module in (ours, baseline))
    return dict(ours_mib=f'{first:.0f}', other_mib=f'{second:.0f}', ratio=f'{second / first:.2f}')


def _compare_time(ours: nn.Module, baseline: nn.Module, x: Tensor, args: argparse.Namespace) -> dict:
    clock = 'cuda' if x.is_cuda else args.clock
    timing = time_pairs(_step(ours, x, args), _step(baseline, x, args), args.rounds, args.warmup, clock)
    return dict(
        ours_ms=f'{timing.first_ms:.2f}',
        other_ms=f'{timing.second_ms:.2f}',
        ratio=f'{timing.ratio:.2f}',
        quartiles=f'{timing.low:.2f}-{timing.high:.2f}',
    )


def _tolerance(args: argparse.Namespace) -> float:
    if args.amp:
        return 5e-2
    # Batch norms over a few pixels and samplers among thousands of boxes magnify rounding in whole models.
    return 5e-3 if _trains_models(args) else 1e-4


def _memory(module: nn.Module, x: Tensor, args: argparse.Namespace) -> int:
    """Return the bytes saved for the backward; on a GPU the peak of a whole step, above what was there before."""
    if x.is_cuda:
        return peak_bytes(_step(module, x, args))
    return saved_bytes(lambda: _call(module, x, args))


def _call(module: nn.Module, x: Tensor, args: argparse.Namespace) -> tuple[Tensor, ...]:
    amp = torch.autocast(x.device.type, torch.bfloat16) if args.amp else contextlib.nullcontext()
    with amp:
        outs = module(x)
    return outs if isinstance(outs, (tuple, list)) else (outs,)


def _backward(outs: Sequence[Tensor]) -> None:
    sum(out.float().square().mean() for out in outs).backward()


def _step(module: nn.Module, x: Tensor, args: argparse.Namespace) -> Callable[[], None]:
    def evaluate() -> None:
        with torch.no_grad():
            _call(module, x, args)

    def train() -> None:
        module.zero_grad(set_to_none=True)
        _backward(_call(module, x, args))

    return evaluate if args.mode == 'eval' else train


@torch.no_grad()
def _error_to_float32(module: nn.Module, x: Tensor, args: argparse.Namespace) -> str:
    """Return the largest relative error of an output under autocast."""
    outs = _call(module, x, args)
    exact = _call(module, x, argparse.Namespace(**{**vars(args), 'amp': False}))
    return f'{max(map(relative_error, outs, exact)):.1e}'


def _agreement(case: Case, x: Tensor, args: argparse.Namespace, tolerance: float) -> float:
    """Return the largest relative error of outputs and, unless in eval mode, of all gradients together."""
    results = []
    for module in (case.ours, case.official):
        with torch.set_grad_enabled(args.mode != 'eval'):
            outs = _call(module, x, args)
        tensors = [out.detach() for out in outs]
        if args.mode != 'eval':
            module.zero_grad(set_to_none=True)
            _backward(outs)
            tensors.append(_gradient(module))
        results.append(tensors)
    names = [f'output {i} of {case.name}' for i in range(len(results[0]))]
    if args.mode != 'eval':
        names[-1] = f'gradient of {case.name}'
    return check_agreement(names, *results, tolerance)


def _gradient(module: nn.Module) -> Tensor:
    """Return the gradients of all parameters as one vector."""
    if isinstance(module, OfficialFeatures):
        return module.gradient()
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def show(rows: Sequence[dict], facts: dict[str, str]) -> None:
    """Print the table; a ratio above 1 says that ours is faster or smaller."""
    table = Table(title=', '.join(f'{name} {value}' for name, value in facts.items()), title_justify='left')
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(cell) for cell in row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def benchmark(args: argparse.Namespace) -> None:
    """Run every case, print the table and write the file."""
    counts = dict(rounds=args.rounds, warmup=args.warmup, batch=min(args.batch), threads=args.threads)
    for option, value in counts.items():
        if value is not None and value < 1:
            raise UserError(f'--{option} {value}: give at least 1')
    if args.official and args.what != 'backbone':
        raise UserError(f'--official is for backbones, got {args.what}')
    if args.device.split(':')[0] not in ('cpu', 'cuda'):
        raise UserError(f'--device {args.device} is unknown: use cpu or cuda')
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'--device {args.device}: no CUDA device is available; use --device cpu')
    if args.fuse and args.mode != 'eval':
        raise UserError(f'--fuse is for --mode eval: a fused model cannot be trained, got --mode {args.mode}')
    if args.out:
        make_folder_of(args.out, '--out', ('.csv',))
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows = []
    cases = len(args.target) * len(args.batch) * (1 if args.what == 'op' else len(args.size))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('benchmark', total=cases)
        for case in op_cases(args) if args.what == 'op' else network_cases(args):
            progress.update(task, description=case.name)
            rows += run_case(case, args)
            progress.advance(task)
    facts = machine_facts(args.device)
    show(rows, facts)
    if args.out:
        write_csv(args.out, rows, facts, 'python -m benchmarks.compare ' + shlex.join(args.argv))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code."""
    args = parse_args(argv)
    return run_cli(lambda: benchmark(args))


if __name__ == '__main__':
    sys.exit(main())
