"""Train a classifier, detector or segmentor: mmhyena train CONFIG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmhyena.utils.cli import add_run_arguments, prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=prog, description='Train a classifier, detector or segmentor.')
    parser.add_argument('config', help='config file; its default_scope tells the task')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without a value from the latest one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    add_run_arguments(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Train as the arguments say."""
    from mmhyena.apis.config import parse_overrides
    from mmhyena.apis.run import train

    train(
        args.config,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        cfg_options=parse_overrides(args.cfg_options),
        launcher=args.launcher,
        auto_scale_lr=args.auto_scale_lr,
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Train, and return the exit code."""
    args = parse_args(argv, prog)
    prepare_process(args.local_rank)
    return run_cli(lambda: run(args))
