"""Weights from elsewhere: names, layouts and sizes brought to ours, and reports of what did not match."""

from .loading import PretrainedMixin, fit_official, fit_to_backbone, load_pretrained
from .official import convert_official, is_official, revert_official
from .official_nd import convert_official_nd, official_nd_config
from .reading import CheckpointError, read_checkpoint, unwrap
from .report import MatchReport, compare, render
from .resizing import resize_filters

__all__ = [
    'CheckpointError',
    'MatchReport',
    'PretrainedMixin',
    'compare',
    'convert_official',
    'convert_official_nd',
    'fit_official',
    'fit_to_backbone',
    'is_official',
    'load_pretrained',
    'official_nd_config',
    'read_checkpoint',
    'render',
    'resize_filters',
    'revert_official',
    'unwrap',
]
