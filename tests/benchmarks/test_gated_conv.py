"""The benchmark of the gated convolution on a CPU: agreement before speed, and operators that are not installed."""

import csv

import pytest

from benchmarks import gated_conv

TINY = ['--device', 'cpu', '--batch', '1', '--channels', '2', '--size', '6', '--kernel', '11', '--rounds', '1']


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_rows_of_what_can_run_and_a_line_for_what_cannot(capsys, tmp_path, dtype):
    out = tmp_path / 'rows.csv'
    operators = ['fft', 'dft', 'direct', 'subq', 'nvsubquadratic']
    assert gated_conv.main([*TINY, '--dtype', dtype, '--operators', *operators, '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    assert 'subq: skipped: it needs a CUDA device' in printed
    assert 'nvsubquadratic: skipped: nvsubquadratic cannot be imported' in printed
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row['operator'] for row in rows] == [name for name in operators[:3] for _ in range(2)]


def test_no_speed_of_an_operator_that_computes_something_else(capsys, monkeypatch):
    def without_skip(u, pre, post, k, skip):
        return gated_conv.formula(u, pre, post, k, 0 * skip)

    monkeypatch.setattr(gated_conv, 'find_operator', lambda name, case: without_skip)
    assert gated_conv.main(TINY) == 2
    captured = capsys.readouterr()
    assert 'triton: output differs by' in captured.err and not captured.out
