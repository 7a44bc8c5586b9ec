"""What the data checks find in one split: counts to show, and problems that stop a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ['SplitReport', 'first']


@dataclass
class SplitReport:
    """What one data set of one split holds.

    Attributes:
        split: 'train', 'val' or 'test'.
        key: Dotted config key of the data set.
        kind: Name of its class.
        source: The annotation file or the folder that it reads.
        classes: Names of the classes by label, or None if they are not known.
        images: Number of images.
        counts: Number of objects, images or labeled pixels of each class.
        unit: What ``counts`` counts.
        dropped: Number of objects that the data set leaves out, by reason.
        by_name: Whether mmdet, which goes by the order of a COCO file's categories, would exchange names or the results
            of single classes.
        order_error: What to say if the file lists its categories in another order than the classes and nothing numbers
            them by name.
        sizes: Number of images of each width and height among those looked at.
        problems: What is wrong and how to fix it, one line each.
        notes: What is unusual, and may be meant.
    """

    split: str
    key: str
    kind: str
    source: str = ''
    classes: tuple[str, ...] | None = None
    images: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    unit: str = 'images'
    dropped: Counter[str] = field(default_factory=Counter)
    by_name: bool = False
    order_error: str | None = None
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Add a problem, unless a check that stops at its first finding has the same one."""
        if text not in self.problems:
            self.problems.append(text)


def first(names: object, shown: int = 4) -> str:
    """Return the first few of some names, separated by commas."""
    listed = [str(name) for name in names]  # type: ignore[attr-defined]
    return ', '.join(listed[:shown]) + (', ...' if len(listed) > shown else '')
