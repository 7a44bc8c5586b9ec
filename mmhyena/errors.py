"""Exceptions that stand for wrong input rather than for a fault of the program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['TRACEBACK_VARIABLE', 'CheckpointError', 'UserError', 'name_checkpoint', 'one_line', 'shows_tracebacks']

TRACEBACK_VARIABLE = 'MMHYENA_TRACEBACK'
"""Environment variable: with the value 1 the tools print the full traceback before an error's one line."""

_MAX_LENGTH = 600


class UserError(Exception):
    """Wrong input. The message is one line that says what is wrong and how to fix it."""


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be used."""


@contextmanager
def name_checkpoint(source: object) -> Iterator[None]:
    """Put the name of a checkpoint before the message of a :class:`CheckpointError` that lacks it."""
    try:
        yield
    except CheckpointError as error:
        if str(source) in str(error):
            raise
        raise CheckpointError(f'{source}: {error}') from error


def one_line(error: BaseException) -> str:
    """Return the message of an exception on one line, without the traceback that a worker process puts into it.

    The name of the exception's class comes first, except for a :class:`UserError`.
    """
    message = str(error).strip()
    name = type(error).__name__
    if message.startswith('Caught ') and 'Original Traceback' in message:  # torch's report of a worker process
        last = [line for line in message.splitlines() if line and not line.startswith(' ')][-1]
        name, _, message = last.partition(': ')
        name = name.rsplit('.', 1)[-1]
    elif isinstance(error, KeyError) and len(error.args) == 1:
        message = str(error.args[0])  # without the quotes that KeyError puts around its message
    text = ' '.join(message.split())
    if len(text) > _MAX_LENGTH:
        text = f'{text[:_MAX_LENGTH]} ...'
    if isinstance(error, UserError):
        return text
    return f'{name}: {text}' if text else name


def shows_tracebacks() -> bool:
    """Whether the user asked for full tracebacks."""
    return os.environ.get(TRACEBACK_VARIABLE, '') not in ('', '0')
