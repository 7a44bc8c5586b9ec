"""The picture of the README needs trained models."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def overview():
    spec = importlib.util.spec_from_file_location('overview', ROOT / 'tools/benchmarks/overview.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_without_models_is_named(overview, tmp_path, capsys):
    assert overview.main([str(tmp_path), '--out', str(tmp_path / 'overview.png')]) == 2
    assert 'holds no trained model' in capsys.readouterr().err
    assert not (tmp_path / 'overview.png').exists()
