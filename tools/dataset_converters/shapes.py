"""Generate the Shapes data set: COCO, ADE20K-style and ImageNet-style trees in one folder.

Examples:
    python tools/dataset_converters/shapes.py --out data/shapes --train 1200 --val 150 --size 160
    python tools/dataset_converters/shapes.py --out data/shapes_far_context --variant far-context
    python tools/dataset_converters/shapes.py --out data/shapes_canvas/2 --train 0 --val 38 --size 320 --figure-side 160
"""

from __future__ import annotations

import argparse
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmhyena.datasets.manifest import DatasetFolderError
from mmhyena.datasets.shapes import DEFAULT_CLS_SIZE, VARIANTS, generate_shapes


def parse_size(text: str) -> tuple[int, int]:
    """Read ``160`` or ``128x192`` (height x width)."""
    parts = text.lower().split('x')
    if len(parts) > 2 or not all(p.isdigit() for p in parts):
        raise argparse.ArgumentTypeError(f"'{text}' is neither a side (160) nor height x width (128x192)")
    return int(parts[0]), int(parts[-1])


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, help='folder of the data set, e.g. data/shapes')
    parser.add_argument('--train', type=int, default=1200, help='training images (default: 1200)')
    parser.add_argument('--val', type=int, default=150, help='validation images (default: 150)')
    parser.add_argument('--size', type=parse_size, help='side or HxW in pixels (default: 160; far-context: 96)')
    parser.add_argument('--cls-train', type=int, help='classification training images (default: as --train)')
    parser.add_argument('--cls-val', type=int, help='classification validation images (default: as --val)')
    parser.add_argument(
        '--cls-size',
        type=int,
        help=f'side of the classification images in pixels (default: {DEFAULT_CLS_SIZE}; far-context: as --size)',
    )
    parser.add_argument(
        '--variant', choices=VARIANTS, default='standard', help='far-context: a distant mark gives the class of figures'
    )
    parser.add_argument(
        '--figure-side', type=int, help='sizes of figures and their number per area as in images of this side'
    )
    parser.add_argument('--seed', type=int, default=0, help='same seed, same bytes (default: 0)')
    parser.add_argument('--force', action='store_true', help='replace a Shapes data set that has other parameters')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = vars(parse_args(argv))
    columns = TextColumn('Shapes'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    try:
        with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task('images', total=None)
            written = generate_shapes(
                progress=lambda done, total: bar.update(task, completed=done, total=total), **options
            )
    except (DatasetFolderError, ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'Shapes {"written to" if written else "is complete in"} {options["out"]}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
