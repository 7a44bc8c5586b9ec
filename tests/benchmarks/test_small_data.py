"""The small-data comparison: what it trains on, how it chooses rates, that it resumes, and what it writes."""

import csv
import json
from dataclasses import asdict

import pytest
import torch

from benchmarks import small_data as cli
from benchmarks import small_data_runs as runs

ACCURACY = {'attention': 50.0, 'hyena-joint': 70.0}


def row(run, fitted=1, val=60.0, test=60.0):
    return asdict(run) | dict(
        params=1, steps=1, train_accuracy=100.0, fitted=fitted, val_accuracy=val, test_accuracy=test, seconds=1.0
    )


def test_training_sets_are_balanced_nested_and_apart_from_the_rest():
    images, labels = runs.training_set('digits', 50, seed=3)
    assert torch.equal(labels.bincount(), torch.full((10,), 5))
    again, _ = runs.training_set('digits', 50, seed=3)
    other, _ = runs.training_set('digits', 50, seed=4)
    larger, _ = runs.training_set('digits', 100, seed=3)
    assert torch.equal(images, again) and not torch.equal(images, other) and torch.equal(larger[:50], images)
    parts = runs.load_data('digits')
    seen = {name: {tuple(image.flatten().tolist()) for image in part[0]} for name, part in parts.items()}
    assert sum(len(part[1]) for part in parts.values()) == 1797
    assert not seen['test'] & (seen['pool'] | seen['val']) and not seen['val'] & seen['pool']


def test_models_are_of_one_scale_and_start_alike():
    for name in runs.MODEL_CONFIGS:
        run = runs.Run('digits', name, 10, 0, 1e-3)
        model = runs.build_model(run)
        assert 4e4 < sum(p.numel() for p in model.parameters()) < 1e5
        assert model(torch.randn(2, 1, 8, 8)).shape == (2, 10)
        decays = {
            group['weight_decay']: len(group['params'])
            for group in runs.make_optimizer(model, run, runs.Recipe()).param_groups
        }
        assert decays.keys() == {0.0, 0.05} and sum(decays.values()) == len(list(model.parameters()))


def test_a_run_stops_soon_after_it_fits():
    run = runs.Run('digits', 'hyenapixel', 10, 0, 3e-3)
    recipe = runs.Recipe(warmup=2, check_every=5, cooldown=5, cap=100)
    result = runs.train(run, recipe)
    assert result['fitted'] == 1 and result['steps'] < 105 and result['train_accuracy'] == 100
    assert result['test_accuracy'] > 15


def test_a_run_that_does_not_fit_is_cooled_down_at_the_cap():
    result = runs.train(runs.Run('digits', 'ibit', 40, 0, 1e-7), runs.Recipe(check_every=2, cap=4, cooldown=3))
    assert result['steps'] == 7 and result['fitted'] == 0


def test_rate_of_the_best_validation_accuracy_among_those_that_fit():

    def rows(*entries):
        return [row(runs.Run('digits', 'ibit', 50, s, rate), fit, val) for s, (rate, fit, val) in enumerate(entries)]

    assert cli.choose_rate(rows((1e-3, 1, 60), (1e-3, 1, 80), (3e-3, 1, 65), (3e-3, 1, 65))) == 1e-3
    assert cli.choose_rate(rows((1e-3, 1, 60), (3e-3, 1, 99), (3e-3, 0, 99))) == 1e-3
    assert cli.choose_rate(rows((1e-3, 0, 60), (3e-3, 0, 70))) == 3e-3


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A folder with all runs of two models on digits, and the arguments that ask for them."""
    settings = dict(recipe=asdict(runs.Recipe()), rates=cli.RATES, data=runs.DATASETS, models=runs.MODEL_CONFIGS)
    results = cli.Results(tmp_path, settings)
    comparison = cli.Comparison(results, {'digits': (20, 50)}, list(ACCURACY), seeds=2)
    for run in comparison.selection():
        results.add(run, row(run, val=run.lr if run.train_size == 20 else -run.lr))
    for run in comparison.report():
        results.add(run, row(run, test=ACCURACY[run.model] + run.seed + run.train_size))
    monkeypatch.setattr(cli, 'train', lambda *args: pytest.fail('a finished run was trained again'))
    return [
        '--out',
        str(tmp_path),
        '--datasets',
        'digits',
        '--models',
        *ACCURACY,
        '--sizes',
        '20',
        '50',
        '--seeds',
        '2',
    ]


def test_report_of_finished_runs(finished, tmp_path, capsys):
    assert cli.main(finished) == 0
    text = capsys.readouterr().out
    assert 'attention ViT' in text and '70.5 ± 0.7' in text and '120.5 ± 0.7' in text
    with (tmp_path / 'summary.csv').open(newline='') as file:
        points = list(csv.DictReader(file))
    assert [(p['model'], p['train_size'], p['mean'], p['std'], p['lr']) for p in points[:2]] == [
        ('attention', '20', '70.5', '0.71', '0.03'),
        ('attention', '50', '100.5', '0.71', '0.001'),
    ]
    assert (tmp_path / 'small_data.png').stat().st_size > 10_000


def test_a_line_cut_short_is_forgotten(finished, tmp_path):
    path = tmp_path / 'runs.csv'
    whole = path.read_text()
    path.write_text(whole[: whole.rindex(',') - 3])
    settings = (tmp_path / 'settings.json').read_text()
    results = cli.Results(tmp_path, json.loads(settings))
    assert len(results.rows) == len(whole.splitlines()) - 2
    assert path.read_text() == '\n'.join(whole.splitlines()[:-1]) + '\n'


def test_other_settings_are_refused_in_one_line(finished, capsys):
    assert cli.main([*finished, '--cap', '7']) == 1
    assert 'holds runs made with other settings; choose another --out' in capsys.readouterr().err
