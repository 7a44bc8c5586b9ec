"""What every test shares: steady hypothesis runs, one torch thread per test process, tables at the end of the run."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from hypothesis import HealthCheck, settings

os.environ.setdefault('MPLBACKEND', 'Agg')

pytest_plugins = ['tests.task_models']

# Timings of single examples say nothing on a shared machine. Runs repeat exactly unless new cases are asked for:
# HYPOTHESIS_PROFILE=explore.
settings.register_profile('explore', deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile('steady', settings.get_profile('explore'), derandomize=True, database=None)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'steady'))

TABLE = 'table:'


def pytest_configure() -> None:
    """Leave one core to each test process."""
    if 'PYTEST_XDIST_WORKER' in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_default_scope() -> Iterator[None]:
    """Forget the scope that a test's config has set, which later look-ups in the same process would start from."""
    yield
    if module := sys.modules.get('mmengine.registry.default_scope'):
        module.DefaultScope._instance_dict.clear()


# Of the session: hypothesis refuses fixtures of a narrower scope.
@pytest.fixture(scope='session', params=['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu'])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Run a test on the CPU, and on a GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture
def on_device(device: torch.device) -> Iterator[None]:
    """Make tensors and modules on the device unless a test says otherwise."""
    with nullcontext() if device.type == 'cpu' else device:
        yield


@pytest.fixture
def add_row(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Add a row to a table that the run prints at its end: ``add_row('Parity', model=name, error=error)``."""
    return lambda table, **cells: record_property(TABLE + table, cells)


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the tables that tests added rows to."""
    tables = defaultdict(list)
    for status in ('passed', 'failed', 'xfailed'):
        for report in terminalreporter.stats.get(status, []):
            for name, cells in report.user_properties:
                if report.when == 'call' and name.startswith(TABLE):
                    tables[name.removeprefix(TABLE)].append(cells)
    for name, rows in tables.items():
        terminalreporter.section(name)
        for line in format_table(sorted(rows, key=lambda cells: [str(cell) for cell in cells.values()])):
            terminalreporter.write_line(line)


def format_table(rows: list[dict]) -> list[str]:
    """Align rows of named cells under one header; floats show three significant digits."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    texts = [header] + [[format_cell(row.get(name, '')) for name in header] for row in rows]
    widths = [max(len(text[i]) for text in texts) for i in range(len(header))]
    return ['  '.join(cell.ljust(width) for cell, width in zip(text, widths, strict=True)).rstrip() for text in texts]


def format_cell(cell: object) -> str:
    """Text of one cell."""
    return f'{cell:.3g}' if isinstance(cell, float) else str(cell)
