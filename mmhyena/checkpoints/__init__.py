"""Checkpoints: reading them safely, translating official ones, and reports of what does not match a model.

Importing this package makes MMEngine read all checkpoints by :func:`read_checkpoint`.
"""

from mmhyena.checkpoints.families import OFFICIAL_FAMILIES, OfficialFamily, find_family
from mmhyena.checkpoints.fitting import fit_to_model, load_fitted
from mmhyena.checkpoints.loading import (
    LoadableBackbone,
    ReportedInit,
    adapt_state_dict,
    fit_to_backbone,
    load_pretrained,
    log_report,
)
from mmhyena.checkpoints.mmengine_loaders import use_our_reader
from mmhyena.checkpoints.official import convert_official, is_official, revert_official
from mmhyena.checkpoints.official_classifier import official_classifier
from mmhyena.checkpoints.official_ibit import convert_official_ibit, official_ibit_config
from mmhyena.checkpoints.official_nd import convert_official_nd, official_nd_config
from mmhyena.checkpoints.official_nd_model import convert_official_nd_model, official_nd_model_config
from mmhyena.checkpoints.reading import read_checkpoint
from mmhyena.checkpoints.report import MatchReport, compare, render
from mmhyena.checkpoints.resizing import resize_filters
from mmhyena.checkpoints.unwrapping import strip_prefixes, unwrap
from mmhyena.errors import CheckpointError

__all__ = [
    'official_nd_model_config',
    'convert_official_nd_model',
    'official_ibit_config',
    'convert_official_ibit',
    'official_classifier',
    'OFFICIAL_FAMILIES',
    'CheckpointError',
    'LoadableBackbone',
    'MatchReport',
    'OfficialFamily',
    'ReportedInit',
    'adapt_state_dict',
    'compare',
    'convert_official',
    'convert_official_nd',
    'find_family',
    'fit_to_backbone',
    'fit_to_model',
    'load_fitted',
    'is_official',
    'load_pretrained',
    'log_report',
    'official_nd_config',
    'read_checkpoint',
    'render',
    'resize_filters',
    'revert_official',
    'strip_prefixes',
    'unwrap',
    'use_our_reader',
]
