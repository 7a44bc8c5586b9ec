"""Accuracy against the number of training images: attention, Hyena N-D, IBiT and HyenaPixel, under one recipe.

The comparison is of generalization, not of speed of optimization: every model picks its learning rate from the same
grid, on validation images and with seeds of their own, and trains until it has fitted its training set. Finished runs
are kept in a csv, so a stopped comparison goes on where it was.

Example: python -m benchmarks.small_data --out work_dirs/small_data
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, fields
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.small_data_runs import DATASETS, MODEL_CONFIGS, Recipe, Run, train

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
SIZES = {'digits': (50, 100, 200, 400), 'shapes': (100, 200, 400)}
SELECTION_SEEDS = (1000, 1001)  # never among the reported ones; larger training sets vary less and take one
RESULTS = ('params', 'steps', 'train_accuracy', 'fitted', 'val_accuracy', 'test_accuracy', 'seconds')
COLUMNS = (*(field.name for field in fields(Run)), *RESULTS)
LABELS = {
    'attention': 'attention ViT',
    'hyena-joint': 'Hyena N-D ViT, joint filter',
    'hyena-product': 'Hyena N-D ViT, product filter',
    'hyena-first': 'hybrid, Hyena first',
    'ibit': 'IBiT',
    'hyenapixel': 'HyenaPixel pyramid',
}


class Results:
    """Finished runs, in memory and in ``runs.csv``; settings that they hold for are beside it.

    Raises:
        ValueError: If the folder holds runs made with other settings.
    """

    def __init__(self, folder: Path, settings: dict) -> None:
        self.path = folder / 'runs.csv'
        self.rows: dict[Run, dict] = {}
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / 'settings.json'
        text = json.dumps(settings, indent=1) + '\n'
        if beside.exists() and beside.read_text() != text:
            raise ValueError(f'{folder} holds runs made with other settings; choose another --out')
        if self.path.exists():
            with self.path.open(newline='') as file:
                for row in csv.DictReader(file):
                    # A line that an interruption cut short has empty fields; its run is done again.
                    if None not in row.values():
                        self._keep(row)
        beside.write_text(text)
        with self.path.open('w', newline='') as file:
            csv.writer(file).writerows([COLUMNS, *([row[name] for name in COLUMNS] for row in self.rows.values())])

    def _keep(self, row: dict) -> Run:
        kinds = dict(dataset=str, model=str, train_size=int, seed=int, params=int, steps=int, fitted=int)
        row = {name: kinds.get(name, float)(row[name]) for name in COLUMNS}
        run = Run(**{field.name: row[field.name] for field in fields(Run)})
        self.rows[run] = row
        return run

    def add(self, run: Run, result: dict) -> None:
        """Keep the result of ``run`` and append it to the csv."""
        row = asdict(run) | result
        self._keep(row)
        with self.path.open('a', newline='') as file:
            csv.writer(file).writerow([row[name] for name in COLUMNS])


def selection_runs(dataset: str, model: str, size: int, seeds: Iterable[int] = SELECTION_SEEDS) -> list[Run]:
    """Return the runs that choose a model's rate for a data set and a size."""
    return [Run(dataset, model, size, seed, rate) for rate in RATES for seed in seeds]


def choose_rate(rows: Iterable[dict]) -> float:
    """Return the rate of the best mean validation accuracy among those whose runs all fitted, or among all if none."""
    by_rate: dict[float, list[dict]] = {}
    for row in rows:
        by_rate.setdefault(row['lr'], []).append(row)
    fitting = {rate: group for rate, group in by_rate.items() if all(row['fitted'] for row in group)}
    candidates = fitting or by_rate
    return max(candidates, key=lambda rate: statistics.mean(row['val_accuracy'] for row in candidates[rate]))


class Comparison:
    """What has to be run, and what came out.

    Args:
        results: Finished runs.
        sizes: Training-set sizes of each data set.
        models: Names of the models.
        seeds: Number of reported seeds.
    """

    def __init__(self, results: Results, sizes: dict[str, tuple[int, ...]], models: list[str], seeds: int) -> None:
        self.results, self.sizes, self.models, self.seeds = results, sizes, models, seeds

    def selection(self) -> list[Run]:
        """Return every run that chooses a rate."""
        places = [(dataset, m, size) for dataset, sizes in self.sizes.items() for size in sizes for m in self.models]
        return [run for place in places for run in self._selection(*place)]

    def _selection(self, dataset: str, model: str, size: int) -> list[Run]:
        smallest = size == min(self.sizes[dataset])
        return selection_runs(dataset, model, size, SELECTION_SEEDS if smallest else SELECTION_SEEDS[:1])

    def rate(self, dataset: str, model: str, size: int) -> float:
        """Return the rate that ``model`` chose on ``dataset`` with ``size`` training images."""
        return choose_rate(self.results.rows[run] for run in self._selection(dataset, model, size))

    def reported(self, dataset: str, model: str, size: int) -> list[Run]:
        """Return the runs of one point of the plot."""
        rate = self.rate(dataset, model, size)
        return [Run(dataset, model, size, seed, rate) for seed in range(self.seeds)]

    def report(self) -> list[Run]:
        """Return every reported run, the smallest training sets first."""
        places = [(d, m, size) for d, sizes in self.sizes.items() for size in sizes for m in self.models]
        return [run for place in places for run in self.reported(*place)]

    def point(self, dataset: str, model: str, size: int) -> dict:
        """Return mean and standard deviation of the test accuracy, and the share of runs that fitted."""
        rows = [self.results.rows[run] for run in self.reported(dataset, model, size)]
        accuracies = [row['test_accuracy'] for row in rows]
        return dict(
            dataset=dataset,
            model=model,
            train_size=size,
            lr=rows[0]['lr'],
            params=rows[0]['params'],
            seeds=len(rows),
            mean=round(statistics.mean(accuracies), 2),
            std=round(statistics.stdev(accuracies), 2) if len(rows) > 1 else 0.0,
            fitted=round(statistics.mean(row['fitted'] for row in rows), 2),
            steps=round(statistics.mean(row['steps'] for row in rows)),
        )

    def summary(self) -> list[dict]:
        """Return every point."""
        return [self.point(d, m, size) for d, sizes in self.sizes.items() for m in self.models for size in sizes]


def _start_worker() -> None:
    torch.set_num_threads(1)


def execute(runs: list[Run], results: Results, recipe: Recipe, workers: int, title: str, console: Console) -> None:
    """Train what is not in ``results`` yet, each run on one core."""
    todo = [run for run in runs if run not in results.rows]
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn('{task.fields[last]}'),
    )
    with (
        Progress(TextColumn(title), *columns, console=console) as bar,
        ProcessPoolExecutor(
            workers, mp_context=torch.multiprocessing.get_context('spawn'), initializer=_start_worker
        ) as pool,
    ):
        task = bar.add_task(title, total=len(runs), completed=len(runs) - len(todo), last='')
        pending = {pool.submit(train, run, recipe): run for run in todo}
        try:
            for future in as_completed(pending):
                run, result = pending[future], future.result()
                results.add(run, result)
                last = f'{run.model}, {run.dataset} {run.train_size}: {result["test_accuracy"]:.1f} %'
                bar.update(task, advance=1, last=last)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def print_tables(comparison: Comparison, console: Console) -> None:
    """Print mean and standard deviation of the test accuracy, a table a data set."""
    for dataset, sizes in comparison.sizes.items():
        table = Table('model', 'params', 'rates', title=f'{dataset}: test accuracy (%) over {comparison.seeds} seeds')
        for size in sizes:
            table.add_column(f'{size} images', justify='right')
        for model in comparison.models:
            points = [comparison.point(dataset, model, size) for size in sizes]
            cells = [f'{p["mean"]:.1f} ± {p["std"]:.1f}' + _unfitted(p) for p in points]
            rates = ' '.join(f'{p["lr"]:g}' for p in points)
            table.add_row(LABELS[model], f'{points[0]["params"]:,}', rates, *cells)
        console.print(table)


def _unfitted(point: dict) -> str:
    return '' if point['fitted'] == 1 else f' ({point["fitted"]:.0%} fitted)'


def write_summary(path: Path, points: list[dict]) -> None:
    """Write the points as csv."""
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, fieldnames=list(points[0]))
        writer.writeheader()
        writer.writerows(points)


def plot(path: Path, comparison: Comparison) -> None:
    """Draw mean accuracy with one standard deviation against the size of the training set."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure, axes = plt.subplots(1, len(comparison.sizes), figsize=(5.2 * len(comparison.sizes), 4.4), squeeze=False)
    for axis, (dataset, sizes) in zip(axes[0], comparison.sizes.items()):
        for number, model in enumerate(comparison.models):
            points = [comparison.point(dataset, model, size) for size in sizes]
            # A slight shift keeps the bars of neighbors apart.
            x = [size * 1.02 ** (number - len(comparison.models) / 2) for size in sizes]
            means, deviations = [p['mean'] for p in points], [p['std'] for p in points]
            marker = 'osD^vP'[number % 6]
            axis.errorbar(x, means, deviations, label=LABELS[model], marker=marker, markersize=5, capsize=3, lw=1.5)
        axis.axhline(100 / DATASETS[dataset]['classes'], color='0.6', ls=':', lw=1)
        axis.set(title=dataset, xlabel='training images', ylabel='test accuracy (%)', xscale='log')
        axis.set_xticks(sizes)
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='lower center', ncols=3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/small_data'), help='folder of csv files and plot')
    parser.add_argument('--datasets', nargs='+', choices=list(SIZES), default=list(SIZES))
    parser.add_argument('--models', nargs='+', choices=list(MODEL_CONFIGS), default=list(MODEL_CONFIGS))
    parser.add_argument('--seeds', type=int, default=5, help='seeds that are reported (default: 5)')
    parser.add_argument('--workers', type=int, default=2, help='runs at a time, each on one core (default: 2)')
    parser.add_argument('--sizes', type=int, nargs='+', help="training images (default: each data set's own)")
    parser.add_argument(
        '--cap', type=int, default=Recipe.cap, help=f'most steps before cool-down (default: {Recipe.cap})'
    )
    args = parser.parse_args(argv)
    if min(args.seeds, args.workers, args.cap, *(args.sizes or [1])) < 1:
        parser.error('--seeds, --workers, --cap and --sizes must be positive')
    return args


def main(argv: list[str] | None = None) -> int:
    args, console = parse_args(argv), Console()
    recipe = Recipe(cap=args.cap)
    settings = dict(recipe=asdict(recipe), rates=RATES, data=DATASETS, models=MODEL_CONFIGS)
    sizes = {name: tuple(sorted(args.sizes or SIZES[name])) for name in args.datasets}
    try:
        results = Results(args.out, settings)
        comparison = Comparison(results, sizes, args.models, args.seeds)
        execute(comparison.selection(), results, recipe, args.workers, 'choosing rates', console)
        execute(comparison.report(), results, recipe, args.workers, 'measuring', console)
    except (ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'stopped; the same command goes on from {results.path}', file=sys.stderr)
        return 130
    print_tables(comparison, console)
    write_summary(args.out / 'summary.csv', comparison.summary())
    plot(args.out / 'small_data.png', comparison)
    print(f'runs.csv, summary.csv and small_data.png are in {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
