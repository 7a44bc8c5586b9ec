"""Checks of constructor arguments: one ``ValueError`` that names the argument, what it may be and what it was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

__all__ = ['check_choice', 'check_int', 'check_keys', 'check_rate', 'check_ratio', 'int_tuple', 'resolve_indices']


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_int(name: str, value: Any, minimum: int = 1, maximum: int | None = None) -> int:
    """Return ``value`` if it is an integer from ``minimum`` to ``maximum``.

    Raises:
        ValueError: If it is not.
    """
    if not _is_int(value) or value < minimum or (maximum is not None and value > maximum):
        allowed = f'at least {minimum}' if maximum is None else f'{minimum} to {maximum}'
        raise ValueError(f'{name} must be an integer, {allowed}, got {value!r}')
    return int(value)


def int_tuple(name: str, value: Any, length: int | None = None, minimum: int = 1) -> tuple[int, ...]:
    """Return ``value`` as a tuple of integers; where ``length`` is given, one integer stands for all.

    Args:
        name: Name of the argument.
        value: An integer, or a sequence of them.
        length: Number of integers, or None for any positive number.
        minimum: Smallest value allowed.

    Raises:
        ValueError: If an entry is not such an integer or their number is another.
    """
    values = (value,) * (length or 1) if _is_int(value) else value
    is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_sequence or not values or not all(_is_int(entry) and entry >= minimum for entry in values):
        count = 'integers' if length is None else f'one integer or {length} integers'
        raise ValueError(f'{name} must be {count}, at least {minimum}, got {value!r}')
    if length is not None and len(values) != length:
        raise ValueError(f'{name} must be one integer or {length} integers, got {len(values)}: {value!r}')
    return tuple(int(entry) for entry in values)


def check_rate(name: str, value: Any) -> float:
    """Return ``value`` if it is a probability below 1.

    Raises:
        ValueError: If it is not a number from 0 to below 1.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise ValueError(f'{name} must be a number from 0 to below 1, got {value!r}')
    return float(value)


def check_ratio(name: str, value: Any) -> float:
    """Return ``value`` if it is a positive finite number.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise ValueError(f'{name} must be a positive number, got {value!r}')
    return value  # type: ignore[return-value]


def check_choice(name: str, value: Any, choices: Iterable[str], others: str = '') -> str:
    """Return ``value`` if it is one of ``choices``; ``others`` says what else the argument may be.

    Raises:
        ValueError: If it is not.
    """
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f'{name} {value!r} is unknown; choose one of {", ".join(choices)}{others}')
    return value


def check_keys(name: str, given: Iterable[str], required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Check the keys of a dict.

    Raises:
        ValueError: If a required one is missing or one is neither required nor optional.
    """
    given, required = set(given), set(required)
    if missing := sorted(required - given):
        raise ValueError(f'{name} lacks {", ".join(missing)}')
    if unknown := sorted(given - required - set(optional)):
        allowed = sorted(required) + sorted(optional)
        raise ValueError(f'{name} does not take {", ".join(unknown)}; it takes {", ".join(allowed)}')


def resolve_indices(name: str, value: Any, count: int, unit: str) -> tuple[int, ...]:
    """Return distinct indices of ``count`` items in ascending order.

    Args:
        name: Name of the argument.
        value: An integer or a sequence of them; negative ones count from the end.
        count: Number of items.
        unit: What the items are called, in the plural.

    Raises:
        ValueError: If there is none, one is out of range or not an integer, or two name the same item.
    """
    entries = (value,) if _is_int(value) else value
    message = f'{name} must be distinct {unit} from {-count} to {count - 1}, got {value!r}'
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not all(map(_is_int, entries)):
        raise ValueError(message)
    indices = tuple(sorted(int(i) + count if i < 0 else int(i) for i in entries))
    if not indices or len(set(indices)) < len(indices) or indices[0] < 0 or indices[-1] >= count:
        raise ValueError(message)
    return indices
