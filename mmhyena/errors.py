"""The one exception that stands for wrong input rather than for a fault of the program."""

__all__ = ['UserError']


class UserError(Exception):
    """Wrong input. The message is one line that names the culprit and the remedy."""
