"""Reading the records of benchmarks, and Markdown tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / 'benchmarks/results'
NOTE = '<!-- written by docs/scripts/tables.py: edit that, or the metafiles -->'


def read_csv(name: str) -> list[dict[str, str]]:
    """Return the rows of a record."""
    with (RECORDS / name).open(newline='') as file:
        return list(csv.DictReader(file))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines)
