"""Growth: memory is that of the passes, predictions follow the growth, and an interrupted csv is continued."""

import csv
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import growth

LINUX = pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='reads /proc')


class Allocating(nn.Module):
    def forward(self, x):
        return torch.ones(64 * 2**20, dtype=torch.uint8).max() + x.sum()


@LINUX
def test_peak_is_what_the_passes_add():
    ballast = torch.ones(256 * 2**20, dtype=torch.uint8)
    del ballast
    found = growth.forward_costs(Allocating(), torch.zeros(1))
    assert 60 / 1024 < found['peak_gib'] < 90 / 1024
    assert found['first_s'] > 0 and found['second_s'] > 0


def test_predictions_follow_the_growth_between_the_two_largest_sizes():
    linear, quadratic = [(512, 1.0), (256, 0.25)], [(256, 0.1), (512, 1.6), (128, 0.09)]
    assert growth.predict_gib(linear, 1024) == pytest.approx(4)
    assert growth.predict_gib(quadratic, 1024) == pytest.approx(25.6)
    assert growth.largest_side(linear, 16) == pytest.approx(2048)
    assert growth.largest_side(quadratic, 25.6) == pytest.approx(1024)
    assert growth.predict_gib(linear[:1], 1024) is None and growth.largest_side([], 24) is None
    # Noise of small maps is no reason to believe in less than linear growth.
    assert growth.predict_gib([(128, 1.0), (256, 1.0)], 512) == pytest.approx(4)


@LINUX
def test_interrupted_csv_is_continued_and_what_does_not_fit_is_predicted(tmp_path, monkeypatch, capsys):
    ran = []
    path, name = tmp_path / 'growth.csv', 'convnext_tiny'
    arguments = ['--networks', name, '--sizes', '64', '128', '--csv', str(path)]

    def child(args, network, size):
        ran.append(size)
        return dict(status='ok', first_s=2.0, second_s=1.0, peak_gib=size**2 / 2**14)

    monkeypatch.setattr(growth, 'run_child', child)
    assert growth.main(arguments) == 0 and ran == [64, 128]
    monkeypatch.setattr(growth, 'available_gib', lambda: 3.0)
    assert growth.main([*arguments, '--sizes', '64', '128', '256']) == 0 and ran == [64, 128]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['size'], row['status'], float(row['peak_gib'])) for row in rows] == [
        ('64', 'ok', 0.25),
        ('128', 'ok', 1.0),
        ('256', 'predicted', 4.0),
    ]
    assert rows[0]['torch'] == torch.__version__
    capsys.readouterr()
    assert growth.main(['--csv', str(path), '--report', '--budget', '16']) == 0
    out = capsys.readouterr().out
    assert '512 (predicted)' in out and '4 GiB (predicted)' in out and '(first 2)' in out


def test_children_that_fail_or_take_too_long_are_rows(monkeypatch):
    args = growth.parse_args(['--timeout', '1'])
    done = subprocess.CompletedProcess([], 1, '', 'RuntimeError: no memory')
    monkeypatch.setattr(subprocess, 'run', lambda *args, **kwargs: done)
    assert growth.run_child(args, 'convnext_tiny', 64) == dict(status='failed')

    def late(*args, **kwargs):
        raise subprocess.TimeoutExpired('growth', 1)

    monkeypatch.setattr(subprocess, 'run', late)
    assert growth.run_child(args, 'convnext_tiny', 64) == dict(status='timeout')


def test_report_without_measurements_is_one_line(tmp_path, capsys):
    assert growth.main(['--csv', str(tmp_path / 'none.csv'), '--report']) == 2
    assert 'holds no measurements' in capsys.readouterr().err


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize('name', growth.NETWORKS)
def test_every_network_runs_in_a_process_of_its_own(name):
    found = growth.run_child(growth.parse_args(['--threads', '1']), name, 256)
    assert found['status'] == 'ok' and found['peak_gib'] > 0
