"""The profile by kind of operation counts every operator once, and finds each kind where it runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from benchmarks.profile_ops import KINDS, benchmark, kind_of, parse_args, time_by_kind


@pytest.mark.parametrize(
    ('operation', 'kind'),
    [
        ('mkldnn::_linear_pointwise', 'matrix products'),
        ('aten::addmm_', 'matrix products'),
        ('aten::mkldnn_convolution', 'convolutions'),
        ('aten::_fft_r2c', 'Fourier transforms'),
        ('aten::native_layer_norm_backward', 'norms'),
        ('aten::copy_', 'copies'),
        ('aten::addcmul', 'elementwise operations and sums'),
        ('_StarReLUMlpBackward', 'calls'),
    ],
)
def test_kind_of_an_operator(operation: str, kind: str):
    assert kind_of(operation) == kind


def test_the_operation_that_runs_is_found():
    a = torch.randn(400, 400)
    times = time_by_kind(lambda: a @ a)
    assert max(times, key=times.get) == 'matrix products'


@pytest.mark.parametrize('options', [['--mode', 'train'], ['--fuse'], ['--fuse', '--amp']])
def test_record_holds_all_kinds_and_shares_of_one(options: list[str], tmp_path: Path):
    path = tmp_path / 'profile.csv'
    benchmark(parse_args(['hpx_former_tiny', '--size', '64', '--rounds', '1', '--out', str(path), *options]))
    rows = list(csv.DictReader(path.open()))
    assert [row['kind'] for row in rows] == list(KINDS)
    assert sum(float(row['share']) for row in rows) == pytest.approx(1, abs=0.01)
    assert all(float(row['ms']) > 0 for row in rows if row['kind'] in ('matrix products', 'convolutions', 'norms'))


def test_fused_models_are_not_trained(capsys):
    with pytest.raises(SystemExit):
        parse_args(['hpx_former_tiny', '--fuse', '--mode', 'train'])
    assert 'cannot be trained' in capsys.readouterr().err
