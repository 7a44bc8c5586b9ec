"""Draw the effective receptive fields of trained models, side by side, by RepLKNet's protocol.

Writes a picture, and a csv with the share of the image that holds 20, 30, 50 and 99 % of the contributions.

Examples:
    python tools/analysis_tools/visualize_erf.py CONFIG CHECKPOINT --images data/shapes/val
    python tools/analysis_tools/visualize_erf.py CONFIG_A CHECKPOINT_A CONFIG_B CHECKPOINT_B --images photos
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmhyena.utils.cli import add_verbose_argument, make_folder_of, prepare_process, run_cli

if TYPE_CHECKING:
    from mmhyena.analysis.erf import EffectiveReceptiveField


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='+', metavar='CONFIG CHECKPOINT', help='one or several trained models')
    parser.add_argument('--images', required=True, help='a file, a folder or a glob in quotes')
    parser.add_argument('--num', type=int, default=50, help='images at most (default: 50)')
    parser.add_argument('--size', nargs=2, type=int, default=[512, 512], metavar=('H', 'W'), help='of the images')
    parser.add_argument('--part', choices=['backbone', 'neck'], default='backbone', help='whose features')
    parser.add_argument('--level', type=int, default=-1, help='which feature map (default: the last)')
    parser.add_argument('--device', help="'cpu', 'cuda', ... (default: an accelerator if there is one)")
    parser.add_argument('--out', type=Path, default=Path('work_dirs/erf.png'), help='picture; the csv lies beside it')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if len(args.models) % 2:
        parser.error('name a CONFIG and a CHECKPOINT for every model')
    if args.num < 1 or min(args.size) < 32:
        parser.error('--num must be positive, --size at least 32 32')
    return args


def visualize(args: argparse.Namespace) -> None:
    """Measure every model, and write picture and csv."""
    from rich.progress import track

    from mmhyena.analysis.erf import receptive_field
    from mmhyena.analysis.models import feature_map, load_images, load_model, name_of

    make_folder_of(args.out, '--out', ('.png', '.pdf', '.svg'))
    fields: dict[str, EffectiveReceptiveField] = {}
    for config, checkpoint in zip(args.models[::2], args.models[1::2]):
        model = load_model(config, checkpoint, args.device)
        images = list(load_images(model, args.images, args.size, args.num))
        name = unique(name_of(config), fields)
        fields[name] = receptive_field(
            lambda x, model=model: feature_map(model, x, args.part, args.level), track(images, description=name)
        )
    draw(args.out, fields)
    table = args.out.with_suffix('.csv')
    write(table, fields)
    print(f'{args.out} and {table} are written')


def unique(name: str, taken: dict[str, EffectiveReceptiveField]) -> str:
    """Return ``name``, with a number where it is taken."""
    numbers = (f'{name} ({number})' for number in range(2, len(taken) + 2))
    return name if name not in taken else next(other for other in numbers if other not in taken)


def draw(path: Path, fields: dict[str, EffectiveReceptiveField]) -> None:
    """Draw the fields side by side on one logarithmic scale each."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(fields), figsize=(3.4 * len(fields), 3.9), squeeze=False)
    for axis, (name, field) in zip(axes[0], fields.items()):
        axis.imshow(field.heat(), cmap='viridis', vmin=0, vmax=1)
        axis.set_title(name, fontsize=8)
        half, nearly_all = field.area_ratio(0.5), field.area_ratio(0.99)
        axis.set_xlabel(f'50 % in {half:.1%}, 99 % in {nearly_all:.1%} of the area', fontsize=7)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write(path: Path, fields: dict[str, EffectiveReceptiveField]) -> None:
    """Write the area ratios."""
    from mmhyena.analysis.erf import THRESHOLDS

    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['model', 'images', 'height', 'width', *(f'area_{threshold:g}' for threshold in THRESHOLDS)])
        for name, field in fields.items():
            ratios = field.area_ratios().values()
            writer.writerow([name, field.images, *field.scores.shape, *(f'{ratio:.6f}' for ratio in ratios)])


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: visualize(args))


if __name__ == '__main__':
    sys.exit(main())
