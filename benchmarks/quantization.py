"""An exported classifier in int8 and in bfloat16: size, error and speed against its float32 file, as csv.

Linear layers are quantized per channel by onnxruntime; the products of the long convolutions stay in float32. Weights,
images and calibration images are random. bfloat16 is eager execution under autocast, since onnxruntime has no such
kernels on a CPU.

python -m benchmarks.quantization --threads 1 --clock cpu
"""

from __future__ import annotations

import argparse
import importlib.metadata
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.export import comparable
from benchmarks.harness import machine_facts, relative_error, time_pairs, write_csv
from mmhyena.apis.export import ExportTarget, build_for_export, export_model, load_exported
from mmhyena.utils.cli import parse_size, prepare_process, run_cli

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/hyenapixel/classification/hpx-former-s18_8xb512_in1k.py'
FORMS = ('int8, dynamic', 'int8, static', 'bfloat16, eager autocast')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', type=Path, default=CONFIG, help='config of a classifier')
    parser.add_argument('--size', default='224')
    parser.add_argument('--calibration', type=int, default=4, help='images of the static form')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int)
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall')
    parser.add_argument('--csv', type=Path, default=ROOT / 'benchmarks/results/quantization.csv')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def quantize(source: Path, form: str, images: Sequence[Tensor]) -> Path:
    """Write a quantized file beside a float32 one."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folder = source.parent
    # Optimized, products with a bias would become Gemm nodes, which dynamic quantization leaves in float32.
    quant_pre_process(source, folder / 'prepared.onnx', skip_symbolic_shape=True, skip_optimization=True)
    graph = onnx.load(folder / 'prepared.onnx').graph
    constants = {tensor.name for tensor in graph.initializer}
    # Weights are the second factor, DFT matrices the first.
    linear = [node.name for node in graph.node if node.op_type in ('MatMul', 'Gemm') and node.input[1] in constants]
    shared = dict(nodes_to_quantize=linear, per_channel=True, weight_type=quantization.QuantType.QInt8)
    out = folder / 'int8.onnx'
    if form == 'int8, dynamic':
        quantization.quantize_dynamic(folder / 'prepared.onnx', out, **shared)
        return out

    class Reader(quantization.CalibrationDataReader):
        rest = iter(images)

        def get_next(self) -> dict | None:
            image = next(self.rest, None)
            return None if image is None else {'image': image.numpy()}

    quantization.quantize_static(folder / 'prepared.onnx', out, Reader(), **shared)
    return out


def autocast(target: ExportTarget) -> Callable[[Tensor], list[Tensor]]:
    """Return eager execution in bfloat16."""

    def run(image: Tensor) -> list[Tensor]:
        with torch.autocast('cpu', torch.bfloat16):
            return [output.float() for output in target.module(image)]

    return run


@torch.no_grad()
def measure(args: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """Measure every form."""
    torch.manual_seed(0)
    size = parse_size(args.size)
    target = build_for_export(args.config)
    source = export_model(target, folder / 'float32.onnx', size).file
    image, *images = torch.randn(1 + args.calibration, 1, 3, *size)
    want = comparable(target.module(image), target.task)
    baseline, rows = load_exported(source), []
    for form in FORMS:
        file = None if 'eager' in form else quantize(source, form, images)
        run = autocast(target) if file is None else load_exported(file)
        error = max(map(relative_error, comparable(run(image), target.task), want))
        timing = time_pairs(lambda run=run: run(image), lambda: baseline(image), args.rounds, 1, args.clock)
        rows.append(
            dict(
                config=args.config.stem,
                form=form,
                size='x'.join(map(str, size)),
                float32_mb=f'{source.stat().st_size / 1e6:.1f}',
                file_mb='' if file is None else f'{file.stat().st_size / 1e6:.1f}',
                rel_error=f'{error:.1e}',
                speed=f'{timing.ratio:.2f}',
                quartiles=f'{timing.low:.2f}-{timing.high:.2f}',
                clock=args.clock,
            )
        )
    return rows


def run(args: argparse.Namespace) -> None:
    """Measure, print and write the csv."""
    if args.threads:
        torch.set_num_threads(args.threads)
    with TemporaryDirectory() as folder:
        rows = measure(args, Path(folder))
    for row in rows:
        print(', '.join(f'{name} {value}' for name, value in row.items()))
    facts = dict(machine_facts(), onnxruntime=importlib.metadata.version('onnxruntime'))
    write_csv(args.csv, rows, facts, f'python -m benchmarks.quantization {shlex.join(args.argv)}'.strip())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
