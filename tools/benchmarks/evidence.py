"""Tables and figures of docs/evidence.md from the raw csv files in benchmarks/results/evidence.

Nothing is measured here: ``evidence.sh`` beside this script measures, on the models that ``compare.py`` has trained.
With --collect, csv files and pictures are first taken from folders of these two.

Examples:
    python tools/benchmarks/evidence.py
    python tools/benchmarks/evidence.py --collect work_dirs/compare work_dirs/evidence
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, run_cli

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks/results/evidence'
IMAGES = ROOT / 'docs/images'
PAGE = ROOT / 'docs/evidence.md'
RAW = ('detection', 'segmentation', 'reach_*', 'resolution_*', 'erf_*', 'kernels_*', 'far_*')
PICTURES = ('erf_segmentation', 'kernels_hpx')
METRICS = {'coco/bbox_mAP': 'box mAP', 'coco/segm_mAP': 'mask mAP', 'mIoU': 'mIoU', 'aAcc': 'pixel accuracy'}
# Values of filter_resize in the raw files; of no long kernels there is one line.
KERNELS = {'': 'as trained', 'False': 'as built', 'True': 'resampled', 'extend': 'extended'}
STYLES = {'True': '--', 'extend': ':'}
TRAINED = {'hyena_nd': 'True'}  # resampled in training, others as built
COSTS = {'params_m': 'parameters (M)', 'gmacs': 'G MACs', 'saved_mib': 'saved for backward (MiB)'}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--collect', type=Path, nargs='+', default=[], metavar='FOLDER', help='take raw files from here'
    )
    add_verbose_argument(parser)
    return parser.parse_args(argv)


def build(args: argparse.Namespace) -> None:
    """Collect raw files, draw the figures and fill the tables."""
    for folder in args.collect:
        collect(folder)
    PAGE.write_text(fill(PAGE.read_text(encoding='utf-8'), all_tables()), encoding='utf-8')
    draw_comparison(IMAGES / 'evidence_comparison.png')
    draw_reach(IMAGES / 'evidence_reach.png')
    draw_resolution(IMAGES / 'evidence_resolution.png')
    print(f'{PAGE} and the figures in {IMAGES} follow from {RESULTS}')


def all_tables() -> dict[str, str]:
    """Return every table of the page by the name of its markers."""
    return {
        'detection': comparison_table(read(RESULTS / 'detection.csv')),
        'segmentation': comparison_table(read(RESULTS / 'segmentation.csv')),
        'far': far_table(),
        'reach': study_table('reach', ('stage', 'taps')),
        'resolution': resolution_table(),
        'kernels': kernels_table(),
        'erf': erf_table(),
    }


def collect(folder: Path) -> None:
    """Copy the raw csv files, and the pictures of trained models with fewer colors."""
    from PIL import Image

    if not folder.is_dir():
        raise UserError(f'{folder} is no folder: --collect takes those of compare.py and evidence.sh')
    RESULTS.mkdir(parents=True, exist_ok=True)
    for pattern in RAW:
        for path in folder.glob(f'{pattern}.csv'):
            shutil.copyfile(path, RESULTS / path.name)
    for name in PICTURES:
        path = folder / f'{name}.png'
        if path.exists():
            with Image.open(path) as image:
                image = image.convert('RGB')
                image.thumbnail((960, 1300))
                image.quantize(96).save(IMAGES / f'evidence_{name}.png', optimize=True)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv file."""
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def studies(kind: str) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Return the rows of every file of a study, ``kind_TASK_MIXER.csv``, by task and mixer."""
    found = {}
    for path in sorted(RESULTS.glob(f'{kind}_*.csv')):
        _, task, mixer = path.stem.split('_', 2)
        found[task, mixer] = read(path)
    return found


def metrics_of(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the metrics that the rows have and a table shows."""
    return [metric for metric in METRICS if metric in rows[0]]


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    rows = [header, ['---'] * len(header), *lines]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def comparison_table(rows: list[dict[str, str]]) -> str:
    """Return mean and standard deviation of every backbone, the best first."""
    from mmhyena.analysis.comparison import summarize

    metrics = metrics_of(rows)
    summary = summarize(rows, [*metrics, *COSTS])
    lines = []
    for name, columns in sorted(summary.items(), key=lambda item: -item[1][metrics[0]][0]):
        seeds = sum(row['backbone'] == name for row in rows)
        digits = 3 if columns[metrics[0]][0] < 1 else 1
        cells = [
            f'{columns[m][0]:.{digits}f}' + (f' ± {columns[m][1]:.{digits}f}' if seeds > 1 else '') for m in metrics
        ]
        lines.append([name, str(seeds), *cells, *(f'{columns[cost][0]:.3g}' for cost in COSTS)])
    return markdown(['mixer', 'seeds', *(METRICS[m] for m in metrics), *COSTS.values()], lines)


def far_table() -> str:
    """Return the far-context runs, ``far_IMAGES.csv``."""
    paths = sorted(RESULTS.glob('far_*.csv'), key=lambda path: -int(path.stem.split('_')[1]))
    lines = [
        [
            path.stem.split('_')[1],
            row['backbone'],
            row['seed'],
            f'{float(row["mIoU"]):.1f}',
            f'{float(row["aAcc"]):.1f}',
        ]
        for path in paths
        for row in read(path)
    ]
    if not lines:
        return 'Not measured yet.'
    return markdown(['training images', 'mixer', 'seed', 'mIoU', 'pixel accuracy'], lines)


def study_table(kind: str, keys: Sequence[str]) -> str:
    """Return the rows of all files of a study."""
    parts = []
    for (task, mixer), rows in studies(kind).items():
        metrics = metrics_of(rows)
        lines = [[*(_cell(key, row[key]) for key in keys), *(f'{float(row[m]):.4g}' for m in metrics)] for row in rows]
        header = [*(key.replace('_', ' ') for key in keys), *(METRICS[m] for m in metrics)]
        parts.append(f'{mixer}, {task}, seed 0:\n\n{markdown(header, lines)}')
    return '\n\n'.join(parts) or 'Not measured yet.'


def resolution_table() -> str:
    """Return the first metric at every resolution, a column for every kind of kernels."""
    parts = []
    for (task, mixer), rows in studies('resolution').items():
        metric = metrics_of(rows)[0]
        kinds = list(dict.fromkeys(row['filter_resize'] for row in rows))
        values = {(row['growth'], row['factor'], row['images'], row['filter_resize']): row[metric] for row in rows}
        lines = [
            [*place, *(f'{float(values[(*place, kind)]):.4g}' for kind in kinds)]
            for place in dict.fromkeys(key[:3] for key in values)
        ]
        header = ['growth', 'factor', 'images', *(f'{METRICS[metric]}, {KERNELS[kind]}' for kind in kinds)]
        parts.append(f'{mixer}, {task}, seed 0:\n\n{markdown(header, lines)}')
    return '\n\n'.join(parts) or 'Not measured yet.'


def kernels_table() -> str:
    """Return what becomes of HyenaPixel's kernels of the first stage on a larger map."""
    kinds = {'kernels_hpx': 'as trained', 'kernels_hpx_resample': 'resampled', 'kernels_hpx_extend': 'extended'}
    lines = [
        [row['layer'].split('.')[3], kind, row['taps'], *(row[key] for key in ('sum', 'norm', 'frequency', 'radius'))]
        for name, kind in kinds.items()
        if (RESULTS / f'{name}.csv').exists()
        for row in read(RESULTS / f'{name}.csv')
        if row['stage'] == '0'
    ]
    header = ['block', 'kernels', 'taps', 'size of the sum', 'L2 norm', 'cycles per tap', 'radius in taps']
    return markdown(header, sorted(lines, key=lambda line: line[0])) if lines else 'Not measured yet.'


def _cell(key: str, value: str) -> str:
    # Stages are counted from 1 in the text, from 0 in modules' names and in the raw files.
    return str(int(value) + 1) if key == 'stage' and value.isdigit() else value


def erf_table() -> str:
    """Return the shares of the image that hold 20 to 99 % of the contributions."""
    path = RESULTS / 'erf_segmentation.csv'
    if not path.exists():
        return 'Not measured yet.'
    rows = read(path)
    areas = [key for key in rows[0] if key.startswith('area_')]
    header = ['model', 'images', *(f'{float(key.removeprefix("area_")):.0%} in' for key in areas)]
    return markdown(header, [[row['model'], row['images'], *(f'{float(row[a]):.1%}' for a in areas)] for row in rows])


def fill(page: str, tables: dict[str, str]) -> str:
    """Put tables between their markers ``<!-- NAME -->`` and ``<!-- end NAME -->``."""
    for name, table in tables.items():
        start, end = f'<!-- {name} -->', f'<!-- end {name} -->'
        if start not in page or end not in page:
            raise UserError(f'{PAGE} lacks the markers {start} and {end}')
        before, _, rest = page.partition(start)
        page = f'{before}{start}\n{table}\n{end}{rest.partition(end)[2]}'
    return page


def _panels(count: int) -> tuple:
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, max(count, 1), figsize=(4.6 * max(count, 1), 3.6), squeeze=False)
    return figure, list(axes[0])


def _save(figure: Any, path: Path, bottom: float = 0.0) -> None:
    from matplotlib import pyplot as plt

    figure.tight_layout(rect=(0, bottom, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_comparison(path: Path) -> None:
    """Draw every run as a point, and the mean of every mixer."""
    data = {task: read(RESULTS / f'{task}.csv') for task in ('detection', 'segmentation')}
    panels = [(task, metric) for task, rows in data.items() for metric in metrics_of(rows) if metric != 'aAcc']
    figure, axes = _panels(len(panels))
    for axis, (task, metric) in zip(axes, panels):
        values: dict[str, list[float]] = {}
        for row in data[task]:
            values.setdefault(row['backbone'], []).append(float(row[metric]))
        names = sorted(values, key=lambda name: sum(values[name]) / len(values[name]))
        for place, name in enumerate(names):
            axis.plot(values[name], [place] * len(values[name]), 'o', color='C0', alpha=0.7)
            axis.plot(sum(values[name]) / len(values[name]), place, '|', color='k', ms=14)
        axis.set_yticks(range(len(names)), [f'{name} (n = {len(values[name])})' for name in names])
        axis.set(title=task, xlabel=METRICS[metric])
        axis.grid(alpha=0.3)
    _save(figure, path)


def draw_reach(path: Path) -> None:
    """Draw accuracy against the central taps that are kept, for every task."""
    found = studies('reach')
    tasks = sorted({task for task, _ in found})
    figure, axes = _panels(len(tasks))
    for axis, task in zip(axes, tasks):
        for number, mixer in enumerate(mixer for other, mixer in found if other == task):
            rows = found[task, mixer]
            metric = metrics_of(rows)[0]
            axis.axhline(float(rows[0][metric]), color=f'C{number}', ls=':', lw=1)
            for stage in dict.fromkeys(row['stage'] for row in rows[1:]):
                points = [(int(row['taps']), float(row[metric])) for row in rows[1:] if row['stage'] == stage]
                label = mixer if stage == 'all' else f'{mixer}, stage {int(stage) + 1} alone'
                style = dict(ls='-', marker='o') if stage == 'all' else dict(ls='--', marker='.', alpha=0.6)
                color = f'C{number}' if stage == 'all' else f'C{4 + int(stage)}'
                axis.plot(*zip(*points), label=label, color=color, ms=4, **style)
        taps = sorted({int(row['taps']) for (other, _), rows in found.items() if other == task for row in rows[1:]})
        axis.set(xscale='log', xlabel='central taps kept (dotted: all)', ylabel=METRICS[metric], title=task)
        axis.set_xticks(taps, [str(tap) for tap in taps])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, ncols=3, loc='upper center', bbox_to_anchor=(0.5, -0.22))
    _save(figure, path)


def draw_resolution(path: Path) -> None:
    """Draw accuracy against the size of objects and of canvases, a panel for each task and way to grow."""
    found = studies('resolution')
    panels = [(task, growth) for task in sorted({task for task, _ in found}) for growth in ('objects', 'canvas')]
    figure, axes = _panels(len(panels))
    for axis, (task, growth) in zip(axes, panels):
        draw_growth(axis, task, growth)
        axis.set_title(f'{task}: larger {growth}')
    _resolution_legend(figure)
    _save(figure, path, bottom=0.08)


def draw_growth(axis: Any, task: str, growth: str, trained: bool = False) -> None:
    """Draw accuracy against the sides of the images, color by mixer and line by kind of kernels.

    Args:
        axis: Axes of matplotlib.
        task: Whose models.
        growth: What is larger, ``'objects'`` or ``'canvas'``.
        trained: Whether kernels as in training are drawn alone, with a label per mixer.
    """
    found = studies('resolution')
    for number, mixer in enumerate(_resolution_mixers()):
        rows = [row for row in found.get((task, mixer), []) if row['growth'] == growth]
        kinds = dict.fromkeys(row['filter_resize'] for row in rows)
        for resize in [TRAINED.get(mixer, next(iter(kinds)))] if trained and rows else kinds:
            metric = metrics_of(rows)[0]
            points = [(float(r['factor']), float(r[metric])) for r in rows if r['filter_resize'] == resize]
            style = '-' if trained else STYLES.get(resize, '-')
            axis.plot(*zip(*points), color=f'C{number}', marker='o', ms=4, label=mixer, ls=style)
            axis.set_ylabel(METRICS[metric])
    axis.set_xlabel('sides of the image, of those in training')
    axis.grid(alpha=0.3)


def _resolution_mixers() -> list[str]:
    return sorted({mixer for _, mixer in studies('resolution')})


def _resolution_legend(figure: Any, columns: int = 8) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=f'C{n}', marker='o', label=mixer) for n, mixer in enumerate(_resolution_mixers())]
    kinds = {'kernels as built': '-', 'resampled': '--', 'extended': ':'}
    lines += [Line2D([], [], color='gray', ls=style, label=label) for label, style in kinds.items()]
    figure.legend(handles=lines, loc='lower center', ncols=columns, frameon=False, fontsize=8)


def main(argv: Sequence[str] | None = None) -> int:
    """Build the page, and return the exit code."""
    args = parse_args(argv)
    return run_cli(lambda: build(args))


if __name__ == '__main__':
    sys.exit(main())
