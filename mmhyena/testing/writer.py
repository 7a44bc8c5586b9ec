"""What a writer of one format is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmhyena.datasets.manifest import Counter
from mmhyena.datasets.shapes import SPLITS


@dataclass(frozen=True)
class Writer:
    """What every format writer needs.

    Attributes:
        root: Folder of the tree.
        num: Images per split.
        size: Height and width of dense-prediction images, pixels.
        seed: Seed of pictures and labels.
        counter: Progress.
    """

    root: Path
    num: int
    size: tuple[int, int]
    seed: int
    counter: Counter

    def labels(self, split: str, classes: int) -> np.ndarray:
        """Draw one label per image (num,), different for neighboring images."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split), classes])
        return (rng.integers(classes) + np.arange(self.num) * (classes // 3 | 1)) % classes

    def folder(self, *parts: str) -> Path:
        """Return ``root/parts``, created."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path
