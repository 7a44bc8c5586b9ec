"""docs/evidence.md says what the raw files say, and its tables are made from them alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from mmhyena.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def evidence():
    spec = importlib.util.spec_from_file_location('evidence', ROOT / 'tools/benchmarks/evidence.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_follows_from_the_raw_files(evidence):
    page = evidence.PAGE.read_text(encoding='utf-8')
    assert evidence.fill(page, evidence.all_tables()) == page


def test_tables_name_the_seeds_and_show_a_deviation_only_where_there_is_one(evidence):
    costs = dict(params_m='2.668', gmacs='0.25', saved_mib='33.6')
    runs = [('hpx', '0.50'), ('hpx', '0.52'), ('convnext', '0.47')]
    rows = [{'backbone': name, 'coco/bbox_mAP': value, 'coco/segm_mAP': value, **costs} for name, value in runs]
    lines = evidence.comparison_table(rows).splitlines()
    assert lines[2].startswith('| hpx | 2 | 0.510 ± 0.014 |')
    assert lines[3].startswith('| convnext | 1 | 0.470 | 0.470 | 2.67 |')


def test_only_what_lies_between_the_markers_is_replaced(evidence):
    page = 'a\n<!-- x -->\nold\n<!-- end x -->\nb'
    assert evidence.fill(page, dict(x='| 1 |')) == 'a\n<!-- x -->\n| 1 |\n<!-- end x -->\nb'
    with pytest.raises(UserError, match='lacks the markers'):
        evidence.fill(page, dict(y=''))


def test_raw_files_are_collected_and_a_wrong_folder_is_named(evidence, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evidence, 'RESULTS', tmp_path / 'raw')
    (tmp_path / 'run').mkdir()
    for name in ('far_200.csv', 'reach_detection_hpx.csv', 'other.csv'):
        (tmp_path / 'run' / name).write_text('stage,taps,mIoU\n')
    evidence.collect(tmp_path / 'run')
    assert sorted(path.name for path in (tmp_path / 'raw').iterdir()) == ['far_200.csv', 'reach_detection_hpx.csv']
    assert evidence.main(['--collect', str(tmp_path / 'nowhere')]) == 2
    assert 'is no folder' in capsys.readouterr().err
