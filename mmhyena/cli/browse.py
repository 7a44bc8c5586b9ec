"""Draw what the pipeline of a config really feeds the model: mmhyena browse CONFIG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mmhyena.utils.cli import add_verbose_argument, make_folder, prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description='Draw what the pipeline of a config really feeds the model.'
    )
    parser.add_argument('config', help='config file of a classifier, detector or segmentor')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument('--num', type=int, default=16, help='number of images (default: 16)')
    parser.add_argument('--out-dir', default='outputs/browse', help='for the pictures (default: outputs/browse)')
    parser.add_argument('--seed', type=int, default=0, help='of order and augmentation (default: 0)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config values')
    add_verbose_argument(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Write a picture of every image, and all of them on one sheet."""
    from PIL import Image
    from rich.progress import track

    from mmhyena.analysis.browse import browse, contact_sheet
    from mmhyena.apis.config import load_config, parse_overrides
    from mmhyena.errors import UserError

    if args.num < 1:
        raise UserError(f'--num {args.num}: at least one image')
    cfg = load_config(args.config, parse_overrides(args.cfg_options))
    out_dir = make_folder(args.out_dir, '--out-dir')
    pictures: list[Any] = []
    samples = browse(cfg, args.split, args.num, args.seed)
    for name, picture in track(samples, description='Browse', total=args.num):
        Image.fromarray(picture).save(out_dir / f'{len(pictures):03d}_{name}.png')
        pictures.append(picture)
    Image.fromarray(contact_sheet(pictures)).save(out_dir / 'sheet.png')
    print(f'{len(pictures)} images of the {args.split} split, and all on sheet.png, are in {out_dir}')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Browse, and return the exit code."""
    args = parse_args(argv, prog)
    prepare_process()
    return run_cli(lambda: run(args))
