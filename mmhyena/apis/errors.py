"""The one exception that stands for wrong input rather than for a fault of the program."""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ['UserError', 'run_cli']


class UserError(Exception):
    """Wrong input. The message is one line that names the culprit and the remedy."""


def run_cli(command: Callable[[], object]) -> int:
    """Run ``command`` and turn a :class:`UserError` into one line on stderr.

    Returns:
        The exit code: 0, or 2 for a :class:`UserError`. Any other exception keeps its traceback.
    """
    try:
        command()
    except UserError as error:
        sys.stderr.write(f'error: {error}\n')
        return 2
    return 0
