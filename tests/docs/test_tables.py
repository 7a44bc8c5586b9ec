"""The pages that are written by a script are what it writes, and hold what the metafiles hold."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def tables() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / 'docs/scripts')  # as for a script, with the modules beside it
        return importlib.import_module('tables')


def test_pages_are_current(tables: ModuleType):
    stale = [path.name for path, text in tables.pages().items() if not path.is_file() or path.read_text() != text]
    assert stale == [], 'run python docs/scripts/tables.py'


def test_every_figure_is_in_the_model_zoo_and_nothing_unknown(tables: ModuleType):
    text = tables.model_zoo()
    for _, metafile in tables.read_metafiles():
        for model in metafile['Models']:
            for metric, value, _, source in tables.figures(model):
                (line,) = [line for line in text.splitlines() if f'`{model["Name"]}`' in line]
                assert f'{metric} {value}' in line
                assert source in line
    assert 'not published' not in text


def test_architectures_hold_the_published_top1(tables: ModuleType):
    published = tables.published_archs()
    assert published['hb_former_s18'].top1 == 83.5
    assert len(published) >= 8
    page = tables.architectures()
    assert all(f'| `{arch}` |' in page for arch in published if arch != 'ibit_tiny')
