"""Convert official HyenaPixel, bidirectional Hyena, IBiT and Hyena N-D checkpoints to ours, the first two also back.

Prints which tensors match the architecture and writes nothing unless all do.

Examples:
    mmhyena convert hpx_former_s18.pth checkpoints/hpx_former_s18.pth
    mmhyena convert checkpoints/hpx_former_s18.pth official.pth --reverse
    mmhyena convert model299.pt checkpoints/ibit_tiny.pth --roll official
    mmhyena convert deit.pth ours.pth --args directional_mode=seq
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmhyena.errors import UserError
from mmhyena.utils.cli import run_cli


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'src',
        help='official checkpoint: file, URL or hf://ORGANIZATION/NAME, a state dict or wrapped (state_dict, model)',
    )
    parser.add_argument(
        'dst', help='file to write, *.safetensors or *.pth: MMEngine style, or an official state dict with --reverse'
    )
    parser.add_argument('--reverse', action='store_true', help='convert ours to official names')
    parser.add_argument('--arch', help='architecture, e.g. hpx_former_s18 (default: the one that fits the weights)')
    parser.add_argument(
        '--weights',
        choices=['auto', 'model', 'ema'],
        default='auto',
        help='which weights of a checkpoint with a moving average (default: the average where there is one)',
    )
    parser.add_argument(
        '--roll', choices=['official', 'aligned'], help='IBiT: how masks are rolled (default: as the file says)'
    )
    parser.add_argument(
        '--args',
        nargs='+',
        metavar='KEY=VALUE',
        help='Hyena N-D: arguments of the official command line (default: those in the checkpoint)',
    )
    parser.add_argument('--force', action='store_true', help='replace DST')
    return parser.parse_args(argv)


def convert(args: argparse.Namespace) -> None:
    from rich.console import Console

    from mmhyena.apis.config import parse_overrides
    from mmhyena.apis.convert import convert_checkpoint, save_checkpoint
    from mmhyena.checkpoints import CheckpointError

    dst = Path(args.dst)
    if dst.exists() and not args.force:
        raise UserError(f'{dst} is there already: --force replaces it')
    if dst.exists() and Path(args.src).exists() and dst.samefile(args.src):
        raise UserError(f'{dst} is the source: choose another place for the result')
    official_args = {} if args.roll is None else dict(roll=args.roll)
    if args.args is not None:
        official_args['args'] = parse_overrides(args.args)
    conversion = convert_checkpoint(args.src, args.arch, args.weights, args.reverse, official_args)
    print(f'{args.src} ({conversion.wrapper}) against {conversion.arch}:')
    Console().print(conversion.report.table())
    try:
        conversion.report.require_fit(args.src, conversion.arch)
    except CheckpointError as error:
        raise UserError(f'{error}; nothing was written') from error
    save_checkpoint(conversion.checkpoint, dst, args.force)
    print(f'{len(conversion.report.matched)} tensors written to {dst}')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    args = parse_args(argv, prog)
    return run_cli(lambda: convert(args))
