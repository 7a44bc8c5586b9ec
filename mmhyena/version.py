"""The version of mmhyena."""

__version__ = '0.1.0'
