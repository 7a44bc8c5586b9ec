"""Weights from elsewhere: translation of names and layouts, and reports of what did not match."""

from .official import convert_official, is_official, revert_official

__all__ = ['convert_official', 'is_official', 'revert_official']
