"""What the ablation tools share: evaluating a model under a hook, and the rows that come out."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from mmhyena.apis import evaluate

__all__ = ['evaluate_under', 'main_metrics', 'write_rows']

_MAIN = ('coco/bbox_mAP', 'coco/segm_mAP', 'mIoU', 'accuracy/top1')


def evaluate_under(
    hook: Hook, config: str, checkpoint: str, cfg_options: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Return the metrics of a model, not fused, with a further hook of the run.

    Args:
        hook: Changes the model before the test.
        config: Config the model was trained with.
        checkpoint: Its weights.
        cfg_options: Overrides with dotted keys.
    """
    # Not the config's own folder, where a run writes its config and would replace that of the training.
    with tempfile.TemporaryDirectory() as folder:
        return evaluate(config, checkpoint, work_dir=folder, cfg_options=cfg_options, hooks=[hook], fuse=False)


def main_metrics(row: Mapping[str, Any], others: Iterable[str]) -> list[str]:
    """Return the metrics that a plot shows: those known by name, else the first that is not among ``others``."""
    known = [key for key in row if key in _MAIN]
    return known or [key for key in row if key not in set(others)][:1]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a csv with the columns of the first row."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
