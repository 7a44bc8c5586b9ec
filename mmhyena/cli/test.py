"""Evaluate a checkpoint of a classifier, detector or segmentor: mmhyena test CONFIG CHECKPOINT."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmhyena.utils.cli import add_run_arguments, prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description='Evaluate a checkpoint of a classifier, detector or segmentor.'
    )
    parser.add_argument('config', help='config file; its default_scope tells the task')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='weights; every tensor has to fit the model. Ensembles name those of their members',
    )
    parser.add_argument('--out', metavar='FILE', help='*.json for the metrics, *.pkl for all predictions')
    parser.add_argument('--show-dir', help='draw the predictions on every test image into this folder')
    parser.add_argument('--tta', action='store_true', help="test-time augmentation by the config's tta_pipeline")
    parser.add_argument('--no-fuse', action='store_true', help='do not fuse the blocks of the model on a CPU')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast; long convolutions stay in float32')
    add_run_arguments(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Evaluate as the arguments say."""
    from mmhyena.apis.config import parse_overrides
    from mmhyena.apis.run import evaluate

    evaluate(
        args.config,
        args.checkpoint,
        work_dir=args.work_dir,
        out=args.out,
        show_dir=args.show_dir,
        tta=args.tta,
        fuse=not args.no_fuse,
        amp=args.amp,
        cfg_options=parse_overrides(args.cfg_options),
        launcher=args.launcher,
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Test, and return the exit code."""
    args = parse_args(argv, prog)
    prepare_process(args.local_rank)
    return run_cli(lambda: run(args))
