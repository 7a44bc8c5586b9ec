"""Weights from elsewhere: translation of names and layouts, and reports of what did not match."""

from .official import convert_official, is_official, revert_official
from .official_nd import convert_official_nd, official_nd_config

__all__ = ['convert_official', 'convert_official_nd', 'is_official', 'official_nd_config', 'revert_official']
