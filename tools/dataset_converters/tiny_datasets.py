"""Write a few generated images in the layout of COCO, ADE20K, Cityscapes, ImageNet, CIFAR, Tiny-ImageNet and CelebA.

They prove that a config runs, data root aside, exactly as it would on the real data; nothing can be learned from them.

Example: python tools/dataset_converters/tiny_datasets.py --out work_dirs/tiny --num 4
"""

from __future__ import annotations

import argparse
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mmhyena.datasets.manifest import DatasetFolderError
from mmhyena.testing import TREES, write_tiny


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, help='folder that takes the place of data/')
    parser.add_argument('--num', type=int, default=4, help='images per split (default: 4)')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(96, 128),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of detection and segmentation images (default: 96 128)',
    )
    parser.add_argument('--only', nargs='+', metavar='TREE', help=f'any of: {", ".join([*TREES, "shapes"])}')
    parser.add_argument('--seed', type=int, default=0, help='same seed, same bytes (default: 0)')
    parser.add_argument('--force', action='store_true', help='replace generated trees that have other parameters')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with Progress(
            TextColumn('tiny data sets'),
            BarColumn(),
            MofNCompleteColumn(),
            transient=True,
            disable=not sys.stdout.isatty(),
        ) as bar:
            task = bar.add_task('images', total=None)
            folders = write_tiny(
                args.out,
                args.num,
                size=tuple(args.size),
                seed=args.seed,
                only=args.only,
                force=args.force,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (DatasetFolderError, ImportError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for name, folder in folders.items():
        print(f'{name}: {folder}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
