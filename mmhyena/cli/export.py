"""Write a model to a file that runs without this package: ONNX, or a program of torch.export.

A classifier gives scores, a segmentor logits at the size of the image, a detector the feature maps of backbone and
neck. The file takes normalized images; its metadata holds class names, mean, std and the order of the channels.
It is written only if it agrees with torch on random images.

Examples:
    mmhyena export CONFIG CHECKPOINT --out model.onnx --shape 224 224
    mmhyena export CONFIG CHECKPOINT --out model.pt2 --shape 512 512 --dynamic-batch
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmhyena.utils.cli import add_verbose_argument, make_folder_of, prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a classifier, detector or segmentor')
    parser.add_argument('checkpoint', nargs='?', help='its weights (default: random ones)')
    parser.add_argument('--out', required=True, metavar='FILE', help='FILE.onnx or FILE.pt2')
    parser.add_argument(
        '--shape', required=True, nargs=2, type=int, metavar=('H', 'W'), help='height and width of the image, fixed'
    )
    parser.add_argument('--dynamic-batch', action='store_true', help='take any number of images instead of one')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if min(args.shape) < 1:
        parser.error('--shape takes two positive numbers')
    return args


def export(args: argparse.Namespace) -> None:
    """Write the file and print what it holds."""
    make_folder_of(args.out, '--out', ('.onnx', '.pt2'))
    from mmhyena.apis.export import build_for_export, export_model

    target = build_for_export(args.config, args.checkpoint)
    result = export_model(target, args.out, args.shape, args.dynamic_batch)
    if target.task == 'detection':
        print('The head, which selects boxes, is not in the file: it gives feature maps.')
    print(f'{result.file}: {target.outputs}, {result.size / 1e6:.1f} MB, relative error to torch {result.error:.1e}')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Export, and return the exit code."""
    args = parse_args(argv, prog)
    prepare_process()
    return run_cli(lambda: export(args))
