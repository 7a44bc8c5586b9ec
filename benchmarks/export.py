"""Exported files against torch: size, error, and speed against eager execution, as csv and table.

A model gets random weights, is written as an ONNX file and as a program of torch.export, and both run the same image
as the model itself. Only a file whose outputs agree is timed, in turn with eager execution.

Examples:
    python -m benchmarks.export
    python -m benchmarks.export --threads 1 --clock cpu --rounds 5
    python -m benchmarks.export configs/shapes/hpx-former-tiny_shapes.py --size 64 64x96 --csv rows.csv
"""

from __future__ import annotations

import argparse
import importlib.metadata
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.harness import check_agreement, machine_facts, time_pairs, write_csv
from mmhyena.apis.export import MAX_ERROR, ExportTarget, build_for_export, export_model, load_exported
from mmhyena.errors import UserError
from mmhyena.utils.cli import parse_size, prepare_process, run_cli

ROOT = Path(__file__).resolve().parents[1]
FORMS = {'ONNX': '.onnx', 'torch.export': '.pt2'}

_CONFIGS = ROOT / 'configs'
_CLASSIFIERS = (
    'hyenapixel/classification/hpx-former-s18_8xb512_in1k.py',
    'hyenapixel/classification/hb-former-s18_8xb512_in1k.py',
    'hyena_nd/classification/hyena-nd-former-s18_8xb512_in1k.py',
    'ibit/ibit-tiny_8xb128_in1k.py',
)
_DENSE = (
    'hyenapixel/segmentation/upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.py',
    'hyenapixel/detection/mask-rcnn_hpx-former-s18_fpn_1x_coco.py',
)


class Case(NamedTuple):
    """A model at one image size in one form."""

    config: Path
    size: tuple[int, int]
    form: str


def default_cases() -> Iterator[Case]:
    """Return the cases of docs/deployment.md."""
    for config in _CLASSIFIERS:
        yield from (Case(_CONFIGS / config, (224, 224), form) for form in FORMS)
        yield Case(_CONFIGS / config, (192, 256), 'ONNX')
    for config in _DENSE:
        yield Case(_CONFIGS / config, (512, 512), 'ONNX')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='*', type=Path, help='configs (default: the cases of docs/deployment.md)')
    parser.add_argument('--size', nargs='+', default=['224'], help='N or HxW, with configs (default: 224)')
    parser.add_argument('--form', nargs='+', choices=list(FORMS), default=list(FORMS), help='with configs')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--threads', type=int)
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall')
    parser.add_argument('--csv', type=Path, default=ROOT / 'benchmarks/results/export.csv')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def comparable(outputs: Sequence[Tensor], task: str) -> list[Tensor]:
    """Return what the error is taken of: the outputs themselves, of a classifier the centered logits.

    Scores of random weights are all near ``1 / classes``, and agree whatever the network computes.
    """
    if task != 'classification':
        return list(outputs)
    logs = [scores.log() for scores in outputs]
    return [log - log.mean(dim=1, keepdim=True) for log in logs]


@torch.no_grad()
def measure(target: ExportTarget, case: Case, folder: Path, args: argparse.Namespace) -> dict[str, object]:
    """Write the file of a case, compare its outputs with those of eager execution, and time both in turn.

    Raises:
        UserError: If the model cannot be exported or the outputs differ.
    """
    written = export_model(target, folder / f'model{FORMS[case.form]}', case.size)
    run = load_exported(written.file)
    image = torch.randn(1, 3, *case.size, generator=torch.Generator().manual_seed(1))
    got, want = comparable(run(image), target.task), comparable(target.module(image), target.task)
    names = [f'output {index} of {case.config.stem} as {case.form}' for index in range(len(want))]
    error = check_agreement(names, got, want, MAX_ERROR)
    timing = time_pairs(
        lambda: run(image), lambda: target.module(image), rounds=args.rounds, warmup=2, clock=args.clock
    )
    written.file.unlink()
    return dict(
        config=case.config.stem,
        task=target.task,
        form=case.form,
        size='x'.join(map(str, case.size)),
        file_mb=f'{written.size / 1e6:.1f}',
        abs_error=f'{max(float((a - b).abs().max()) for a, b in zip(got, want)):.1e}',
        rel_error=f'{error:.1e}',
        eager_ms=f'{timing.second_ms:.1f}',
        file_ms=f'{timing.first_ms:.1f}',
        speed=f'{timing.ratio:.2f}',
        quartiles=f'{timing.low:.2f}-{timing.high:.2f}',
        clock=args.clock,
    )


def show(rows: Sequence[dict[str, object]]) -> None:
    """Print the rows without what is the same in all of them."""
    table = Table()
    for name in rows[0]:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=max(Console().width, 160)).print(table)


def run(args: argparse.Namespace) -> None:
    """Measure every case, print the table and write the csv; cases that are refused are named at the end."""
    if args.threads:
        torch.set_num_threads(args.threads)
    sizes = [parse_size(size) for size in args.size]
    cases = [Case(config, size, form) for config in args.config for size in sizes for form in args.form]
    facts = dict(machine_facts(), onnxruntime=importlib.metadata.version('onnxruntime'))
    command = f'python -m benchmarks.export {shlex.join(args.argv)}'.strip()
    rows: list[dict[str, object]] = []
    refused = []
    with TemporaryDirectory() as folder:
        for case in track(cases or list(default_cases()), 'export', console=Console(stderr=True)):
            torch.manual_seed(0)
            try:
                rows.append(measure(build_for_export(case.config), case, Path(folder), args))
                write_csv(args.csv, rows, facts, command)  # what is measured stays if the run is stopped
            except UserError as error:
                refused.append(f'{case.config.stem} as {case.form} at {"x".join(map(str, case.size))}: {error}')
    if rows:
        show(rows)
    if refused:
        raise UserError('; '.join(refused))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
