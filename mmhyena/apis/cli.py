"""Command-line arguments that the tools share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

__all__ = ['add_run_arguments', 'export_local_rank']


class _Options(DictAction):
    """``key=value`` pairs, with a usage error instead of a traceback for a word that is no pair."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Sequence[str], *args: Any
    ) -> None:
        for word in values:
            if '=' not in word:
                parser.error(f'--cfg-options {word}: expected key=value, without blanks around "="')
        super().__call__(parser, namespace, values, *args)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing have in common."""
    parser.add_argument('--work-dir', help='for logs and checkpoints (default: work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_Options,
        metavar='KEY=VALUE',
        help='override config values, e.g. train_dataloader.batch_size=4 model.backbone.out_indices=[0,1,2,3]',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def export_local_rank(args: argparse.Namespace) -> None:
    """Set ``LOCAL_RANK`` for launchers that pass it as an argument."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
