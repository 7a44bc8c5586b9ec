"""Draw the picture of the README from models that ``compare.py`` has trained for segmentation.

Effective receptive fields, the strongest kernels of HyenaPixel's first block, and accuracy against resolution; the last
from the raw files in benchmarks/results/evidence.

Example:
    python tools/benchmarks/overview.py work_dirs/compare
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, make_folder_of, prepare_process, run_cli

ROOT = Path(__file__).resolve().parents[2]
MIXERS = {'hpx': 'HyenaPixel', 'hb': 'bidirectional Hyena', 'convformer': '7 x 7 convolution'}
KERNELS = 3


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('compare', type=Path, help='folder of compare.py')
    parser.add_argument('--images', default='data/shapes/val', help='images of the receptive fields')
    parser.add_argument('--num', type=int, default=16, help='how many of them (default: 16)')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/images/overview.png', help='picture')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if args.num < 1:
        parser.error('--num must be positive')
    return args


def load(compare: Path, mixer: str) -> Any:
    """Return the trained segmentor of seed 0."""
    from mmhyena.analysis.models import load_model

    folder = compare / 'segmentation' / mixer / 'seed0'
    pointer = folder / 'last_checkpoint'
    if not pointer.is_file():
        raise UserError(f'{folder} holds no trained model: run compare.py with --task segmentation first')
    return load_model(folder / 'config.py', pointer.read_text(encoding='utf-8').strip(), 'cpu')


def draw(args: argparse.Namespace) -> None:
    """Measure and draw."""
    import matplotlib

    matplotlib.use('Agg')
    import numpy as np
    from matplotlib import pyplot as plt

    from mmhyena.analysis.erf import receptive_field
    from mmhyena.analysis.kernels import summarize_kernels
    from mmhyena.analysis.models import feature_map, load_images

    make_folder_of(args.out, '--out', ('.png',))
    figure = plt.figure(figsize=(8, 3.7))
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    axes = left.subplots(2, len(MIXERS))
    for number, (axis, (mixer, title)) in enumerate(zip(axes[0], MIXERS.items())):
        model = load(args.compare, mixer)
        images = list(load_images(model, args.images, (160, 160), args.num))
        field = receptive_field(lambda x, model=model: feature_map(model, x), images)
        axis.imshow(field.heat(), cmap='viridis', vmin=0, vmax=1)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f'half in {field.area_ratio(0.5):.0%} of the area', fontsize=8)
        if number == 0:
            summary = summarize_kernels(model)[0]
    axes[0, 0].set_ylabel('receptive field', fontsize=9)
    axes[1, 0].set_ylabel('kernels', fontsize=9)
    for axis, channel in zip(axes[1], summary.strongest(KERNELS)):
        kernel = summary.kernel[channel]
        limit = np.abs(kernel).max()
        axis.imshow(kernel, cmap='RdBu_r', vmin=-limit, vmax=limit)
    axes[1, 1].set_xlabel('63 x 63 taps, first block of HyenaPixel', fontsize=8)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    evidence = _evidence()
    axis = right.subplots()
    evidence.draw_growth(axis, 'segmentation', 'objects', trained=True)
    axis.legend(fontsize=8, loc='lower left', bbox_to_anchor=(0.17, 0))
    axis.set_title('mIoU of larger images', fontsize=9)
    left.subplots_adjust(left=0.07, right=0.98, top=0.94, bottom=0.07, wspace=0.08, hspace=0.16)
    right.subplots_adjust(left=0.16, right=0.97, top=0.94, bottom=0.14)
    figure.savefig(args.out, dpi=150)
    plt.close(figure)
    print(f'{args.out} is written')


def _evidence() -> Any:
    """Return the script beside this one."""
    spec = importlib.util.spec_from_file_location('evidence', Path(__file__).with_name('evidence.py'))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: draw(args))


if __name__ == '__main__':
    sys.exit(main())
