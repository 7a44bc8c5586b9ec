"""Wrong input: the exception of :mod:`mmhyena.errors`, which the command lines turn into one line."""

from ..errors import UserError

__all__ = ['UserError']
