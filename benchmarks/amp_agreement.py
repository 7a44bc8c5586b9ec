r"""How often bfloat16 predicts what float32 does: the share of images, or of pixels, whose class is the same.

The model runs fused over a folder of images, as ``mmhyena demo`` does, with and without ``--amp``.

    python -m benchmarks.amp_agreement configs/shapes/hpx-former-tiny_shapes.py work_dirs/cls/epoch_16.pth \
        data/shapes/classification/val
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.harness import machine_facts, write_csv
from mmhyena.apis.inference.images import find_images
from mmhyena.apis.inference.inferencer import Inferencer
from mmhyena.apis.inference.results import Classification, Result, Segmentation
from mmhyena.errors import UserError
from mmhyena.utils.cli import run_cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('images', type=Path, help='folder, with its subfolders')
    parser.add_argument('--batch-size', type=int, default=10)
    parser.add_argument('--out', metavar='CSV')
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def classes_of(result: Result) -> np.ndarray:
    """Return the class of an image, or of every pixel, as a flat array.

    Raises:
        UserError: If the model is a detector, whose boxes have no counterparts.
    """
    if isinstance(result, Classification):
        return np.array([result.scores.argmax()])
    if isinstance(result, Segmentation):
        return result.class_map.ravel()
    raise UserError(f'agreement is that of classifiers and segmentors; this model is for {result.task}')


def predict(args: argparse.Namespace, files: list[Path], amp: bool) -> np.ndarray:
    """Return the classes of all images, or of all their pixels."""
    inferencer = Inferencer(args.config, args.checkpoint, device='cpu', amp=amp)
    results = inferencer.stream(files, args.batch_size)
    label = 'bfloat16' if amp else 'float32'
    return np.concatenate([classes_of(result) for result in track(results, label, total=len(files))])


def run(args: argparse.Namespace) -> None:
    """Predict twice, compare and write the row."""
    files = find_images(args.images, recursive=True)
    single, half = predict(args, files, amp=False), predict(args, files, amp=True)
    agreement = f'{(single == half).mean():.5f}'
    row = dict(config=args.config, images=len(files), predictions=len(single), agreement=agreement)
    print(', '.join(f'{key} {value}' for key, value in row.items()))
    if args.out:
        command = 'python -m benchmarks.amp_agreement ' + shlex.join(args.argv)
        write_csv(args.out, [row], machine_facts(), command)


if __name__ == '__main__':
    arguments = parse_args()
    sys.exit(run_cli(lambda: run(arguments)))
