"""What of a checkpoint fits a model: the comparison, the table that shows it, and the error of a poor match."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmhyena.errors import CheckpointError

__all__ = ['MatchReport', 'compare', 'render']

_REMEDY = 'choose the arch of the checkpoint or the checkpoint of the arch'
_COUNTER = 'num_batches_tracked'


@dataclass
class MatchReport:
    """How the tensors of a checkpoint and those of a model correspond.

    Attributes:
        matched: Names in both, with one shape.
        resampled: Names in both whose tensor was brought to the model's size, with both sizes.
        new: Names of the model that the checkpoint is not expected to have, or not in this shape.
        left_out: Names of the checkpoint that the model is not expected to have.
        missing: Names of the model that the checkpoint should have.
        unexpected: Names of the checkpoint that the model should have.
        wrong_shape: Names in both with two shapes, and the shapes.
    """

    matched: list[str] = field(default_factory=list)
    resampled: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong_shape: dict[str, str] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether nothing is missing, unexpected or of another shape."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    @property
    def found(self) -> int:
        """How many tensors of the model the checkpoint has."""
        return len(self.matched) + len(self.resampled)

    @property
    def total(self) -> int:
        """How many tensors the model has."""
        return self.found + len(self.new) + len(self.missing) + len(self.wrong_shape)

    def require_fit(self, source: str, model: str, remedy: str = _REMEDY) -> None:
        """Raise a :class:`CheckpointError` that names the first tensors in the way, unless everything fits.

        Args:
            source: What to call the checkpoint.
            model: What to call the model.
            remedy: What to do about it.
        """
        if self.fits:
            return
        problems: dict[str, Collection[str]] = {
            'missing': self.missing,
            'unexpected': self.unexpected,
            'of another shape': self.wrong_shape,
        }
        found = [f'{len(names)} {what} ({_first(names)})' for what, names in problems.items() if names]
        raise CheckpointError(
            f'{source} does not fit {model}: {self.found} of {self.total} tensors match, {", ".join(found)}; {remedy}'
        )

    def table(self) -> Table:
        """Return a table with the matched keys counted by module and all others by name."""
        table = Table()
        table.add_column('status', no_wrap=True)
        table.add_column('keys', overflow='fold')
        table.add_column('tensors', justify='right')
        for section, names in _by_module(self.matched).items():
            table.add_row('matched', section, str(len(names)))
        for status, names in (
            ('resampled', _with_notes(self.resampled)),
            ('new', self.new),
            ('left out', self.left_out),
            ('missing', self.missing),
            ('unexpected', self.unexpected),
            ('wrong shape', _with_notes(self.wrong_shape)),
        ):
            for pattern, count in _condense(names).items():
                table.add_row(status, pattern, str(count))
            if not names and status in ('missing', 'unexpected'):
                table.add_row(status, 'none', '0')
        return table


def compare(
    state: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    resampled: Mapping[str, str] | None = None,
    may_be_new: Callable[[str], bool] = lambda name: False,
    may_be_left_out: Callable[[str], bool] = lambda name: False,
) -> MatchReport:
    """Compare a state dict with the names and shapes of a model.

    Args:
        state: Tensors of the checkpoint under the model's names.
        shapes: Shape of every tensor of the model.
        resampled: Names whose tensor in ``state`` has been resampled, with a note on the sizes.
        may_be_new: Whether the checkpoint may lack a name of the model, or have it in another shape.
        may_be_left_out: Whether the model may lack a name of the checkpoint.
    """
    report = MatchReport(resampled={name: note for name, note in (resampled or {}).items() if name in shapes})
    for name, shape in shapes.items():
        if name not in state:
            # Batch norms count on without their counter, which old checkpoints lack.
            is_new = may_be_new(name) or name.endswith(_COUNTER)
            (report.new if is_new else report.missing).append(name)
        elif tuple(state[name].shape) != tuple(shape):
            if may_be_new(name):
                report.new.append(name)
                report.left_out.append(name)
            else:
                report.wrong_shape[name] = f'{_size(state[name].shape)} for {_size(shape)}'
        elif name not in report.resampled:
            report.matched.append(name)
    for name in state:
        if name not in shapes:
            (report.left_out if may_be_left_out(name) else report.unexpected).append(name)
    return report


def render(table: Table, width: int = 116) -> str:
    """Return a table as text, for a log file."""
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue().rstrip()


def _size(shape: Iterable[int]) -> str:
    return 'x'.join(map(str, shape)) or 'scalar'


def _first(names: Iterable[str], shown: int = 3) -> str:
    names = list(names)
    return ', '.join(names[:shown]) + (', ...' if len(names) > shown else '')


def _with_notes(names: Mapping[str, str]) -> list[str]:
    return [f'{name} ({note})' for name, note in names.items()]


def _by_module(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names by stage, or by module where there are no stages."""
    groups = defaultdict(list)
    for name in names:
        match = re.match(r'(?:[a-z_]+\.)*?[a-z_]+\.\d+(?=\.)|.+(?=\.)', name)
        groups[match[0] if match else name].append(name)
    return groups


def _condense(names: Iterable[str]) -> dict[str, int]:
    """Count names that differ in the number of a block alone under one pattern."""
    groups = defaultdict(list)
    for name in names:
        groups[re.sub(r'(?<=\.)\d+(?=\.)', '*', name)].append(name)
    return {same[0] if len(same) == 1 else pattern: len(same) for pattern, same in groups.items()}
