"""Exceptions that stand for wrong input rather than for a fault of the program."""

__all__ = ['CheckpointError', 'UserError']


class UserError(Exception):
    """Wrong input. The message is one line that says what is wrong and how to fix it."""


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be used."""
