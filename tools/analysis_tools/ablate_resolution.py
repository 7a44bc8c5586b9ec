"""Evaluate a trained model at other resolutions, with kernels as trained, resampled and extended.

Two ways lead to more pixels: ``objects`` scales the images of the test set, so that everything in them is larger;
``canvas`` takes other images that show more objects of the same size. Canvases are data sets of the same format as the
config's, one for each factor: with --canvas-data data/shapes_canvas/{factor}, those of Shapes for factor 2 are made by

    python tools/dataset_converters/shapes.py --out data/shapes_canvas/2 --size 320 --figure-side 160 --train 0 --val 38

Writes a csv and a plot.

Examples:
    python tools/analysis_tools/ablate_resolution.py CONFIG CHECKPOINT
    python tools/analysis_tools/ablate_resolution.py CONFIG CHECKPOINT --canvas-data data/shapes_canvas/{factor}
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, make_folder_of, prepare_process, run_cli

OTHER_COLUMNS = ('growth', 'factor', 'filter_resize', 'images')
KERNELS = {None: '', False: 'taps of training', True: 'resampled', 'extend': 'extended'}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config the model was trained with')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--factors', nargs='+', type=float, default=[0.5, 1, 1.5, 2, 3], help='of the sides')
    parser.add_argument(
        '--canvas-data', metavar='FOLDER', help="data sets on larger canvases, '{factor}' standing for 1.5, 2, ..."
    )
    parser.add_argument('--max-images', type=int, default=50, help='images per evaluation (default: 50)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/resolution.csv'), help='csv; the plot beside it')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config values')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if min(args.factors) <= 0 or args.max_images < 1:
        parser.error('--factors and --max-images take positive numbers')
    if args.canvas_data and '{factor}' not in args.canvas_data:
        parser.error("--canvas-data needs '{factor}' in its name")
    return args


def ablate(args: argparse.Namespace) -> None:
    """Evaluate every resolution, and write csv and plot."""
    from mmhyena.analysis.ablation import write_rows
    from mmhyena.analysis.models import load_model
    from mmhyena.analysis.resolution import has_long_convs

    make_folder_of(args.out, '--out', ('.csv',))
    factors = sorted({1.0, *args.factors})
    canvases = {factor: args.canvas_data.replace('{factor}', f'{factor:g}') for factor in factors if args.canvas_data}
    missing = [folder for factor, folder in canvases.items() if factor != 1 and not Path(folder).is_dir()]
    if missing:
        raise UserError(f'{missing[0]} does not exist: --canvas-data needs a data set for every factor but 1')
    with_kernels = has_long_convs(load_model(args.config, args.checkpoint, 'cpu'))
    resizes: tuple[Any, ...] = (False, True, 'extend') if with_kernels else (None,)
    rows: list[dict[str, Any]] = []
    for growth in ('objects', 'canvas') if canvases else ('objects',):
        for factor in factors:
            for resize in resizes:
                name = KERNELS[resize]
                print(f'{growth} x {factor:g} {name}'.rstrip(), flush=True)
                canvas = canvases[factor] if growth == 'canvas' and factor != 1 else None
                found = evaluate(args, factor, canvas, resize)
                rows.append(dict(growth=growth, factor=factor, filter_resize=resize) | found)
    write_rows(args.out, rows)
    picture = args.out.with_suffix('.png')
    plot(picture, rows)
    print(f'{args.out} and {picture} are written')


def evaluate(args: argparse.Namespace, factor: float, canvas: str | None, resize: Any) -> dict[str, float]:
    """Return the number of images and the metrics at one resolution."""
    from mmhyena.analysis.ablation import evaluate_under
    from mmhyena.analysis.resolution import ResolutionHook, rescale_test, use_canvas
    from mmhyena.apis.config import load_config, parse_overrides

    cfg = load_config(args.config)
    overrides: dict[str, Any] = {'test_dataloader.dataset.indices': args.max_images}
    if canvas is None:
        overrides['test_dataloader.dataset.pipeline'] = rescale_test(cfg, factor)
    else:
        overrides |= use_canvas(cfg, factor, canvas)
    options = parse_overrides(args.cfg_options) | overrides
    hook = ResolutionHook(resize)
    found = evaluate_under(hook, args.config, args.checkpoint, options)
    return dict(images=hook.images) | found


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the first metrics against the factor, a line for each way to grow and each kind of kernel."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    from mmhyena.analysis.ablation import main_metrics

    metrics = main_metrics(rows[0], OTHER_COLUMNS)
    figure, axes = plt.subplots(1, len(metrics), figsize=(4.8 * len(metrics), 3.8), squeeze=False)
    lines = dict.fromkeys((row['growth'], row['filter_resize']) for row in rows)
    for axis, metric in zip(axes[0], metrics):
        for growth, resize in lines:
            points = [
                (row['factor'], row[metric])
                for row in rows
                if (row['growth'], row['filter_resize']) == (growth, resize)
            ]
            label = dict(objects='larger objects', canvas='larger canvas')[growth]
            label += f', {KERNELS[resize]}' if KERNELS[resize] else ''
            axis.plot(
                *zip(*points),
                label=label,
                marker={True: 's', 'extend': '^'}.get(resize, 'o'),
                ls={True: '--', 'extend': ':'}.get(resize, '-'),
                color='C0' if growth == 'objects' else 'C1',
                ms=4,
            )
        axis.set(xlabel='sides of the images, of those in training', ylabel=metric)
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: ablate(args))


if __name__ == '__main__':
    sys.exit(main())
