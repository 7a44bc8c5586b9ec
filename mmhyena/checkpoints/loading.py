"""Pretrained weights by ``init_cfg``: whatever names they come under, and never without a report."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from torch import Tensor, nn

from mmhyena.checkpoints.families import find_family
from mmhyena.checkpoints.fitting import fit_to_model, load_fitted
from mmhyena.checkpoints.reading import read_checkpoint
from mmhyena.checkpoints.report import MatchReport, compare, render
from mmhyena.checkpoints.unwrapping import strip_prefixes, unwrap
from mmhyena.errors import CheckpointError, name_checkpoint

__all__ = [
    'LoadableBackbone',
    'ReportedInit',
    'adapt_state_dict',
    'fit_to_backbone',
    'load_pretrained',
    'log_report',
]

_BACKBONE = 'backbone.'
_OUT_NORM = re.compile(r'norm\d+\.')
_CLASSIFIER_KEYS = {'head.fc1.weight', 'head.norm.weight'}


@runtime_checkable
class LoadableBackbone(Protocol):
    """What loading asks of a backbone: its tensors, and how those of another size become its own."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors by name."""

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> Any:
        """Fill the tensors."""

    def resize_weights(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Resample tensors of other sizes; return all tensors, and a note for each resampled name."""


def adapt_state_dict(backbone: LoadableBackbone, state_dict: dict[str, Tensor], prefix: str) -> None:
    """Resample the backbone's tensors in a model's ``state_dict`` in place, and warn if it has none.

    Args:
        backbone: The backbone that is about to be filled.
        state_dict: Tensors of the whole model.
        prefix: What stands before the backbone's own names, ``'backbone.'`` or nothing.
    """
    own = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    resized, notes = backbone.resize_weights(own)
    state_dict.update({prefix + name: value for name, value in resized.items() if value is not own[name]})
    if notes:
        _log(f'{len(notes)} tensors resampled: {", ".join(sorted(set(notes.values())))}')
    if prefix and not own:
        _log(
            f'the checkpoint has no weight under {prefix!r}: the backbone keeps its own. An official checkpoint is '
            "loaded by init_cfg=dict(type='Pretrained', checkpoint=...) of the backbone, or converted by "
            'tools/model_converters/official_to_mmhyena.py',
            logging.WARNING,
        )


class ReportedInit(PretrainedInit):
    """MMEngine's ``Pretrained`` with the same arguments, which skips nothing in silence.

    Backbones of this package are filled by :func:`load_pretrained`, other modules (whole models, heads, necks,
    backbones of the toolkits) as by ``load_from``, see :func:`~mmhyena.checkpoints.fit_to_model`.
    """

    def __init__(self, checkpoint: str, weights: str = 'auto', **kwargs: Any) -> None:
        super().__init__(checkpoint, **kwargs)
        self.weights = weights

    def __call__(self, module: nn.Module) -> None:
        """Fill ``module`` and note it in MMEngine's record of initializations."""
        if isinstance(module, LoadableBackbone):
            load_pretrained(module, self.checkpoint, self.prefix, self.weights)
        else:
            _start_from(module, self.checkpoint, self.prefix, self.weights)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())


def _start_from(module: nn.Module, checkpoint: str, prefix: str | None, weights: str) -> None:
    with name_checkpoint(checkpoint):
        state, wrapper = unwrap(read_checkpoint(checkpoint), weights)
        if prefix is not None:
            state, _ = _below(state, prefix)
        fitted, report = fit_to_model(state, module, exact=False)
    log_report(report, f'{checkpoint} ({wrapper}) into {type(module).__name__}:')
    report.require_fit(checkpoint, f'this {type(module).__name__}')
    load_fitted(module, fitted)


def load_pretrained(
    backbone: LoadableBackbone, checkpoint: str | Path, prefix: str | None = None, weights: str = 'auto'
) -> MatchReport:
    """Load a checkpoint into a backbone and log what matched, what is new and what was left out.

    Official classifiers and feature extractors are converted. A classifier's head is left out, and so is its final
    norm where the backbone gives maps, since that norm is made for the mean over a map. Output norms that the
    checkpoint lacks are new. All else has to match.

    Args:
        backbone: The backbone to fill.
        checkpoint: File or URL of official or of our weights, wrapped or not; see :func:`~.unwrapping.unwrap`.
        prefix: What stands before the backbone's names in a checkpoint of ours. None finds ``backbone.`` by itself.
        weights: Which weights of a checkpoint with a moving average: ``'auto'``, ``'model'`` or ``'ema'``.

    Raises:
        CheckpointError: If the file cannot be read, or tensors are missing, unexpected or of another shape.
    """
    with name_checkpoint(checkpoint):
        state, wrapper = unwrap(read_checkpoint(checkpoint), weights)
        fitted, report = fit_to_backbone(state, backbone, prefix)
    title = f'{checkpoint} ({wrapper}) into {type(backbone).__name__}:'
    log_report(report, title)
    report.require_fit(str(checkpoint), f'this {type(backbone).__name__}')
    load_fitted(backbone, fitted)
    return report


def fit_to_backbone(
    state: Mapping[str, Tensor], backbone: LoadableBackbone, prefix: str | None = None
) -> tuple[dict[str, Tensor], MatchReport]:
    """Return the tensors of a state dict that a backbone takes, under its names and in its sizes, and the report.

    Args:
        state: Official or our names, of a whole model or of a backbone.
        backbone: The backbone to be filled.
        prefix: As in :func:`load_pretrained`.

    Raises:
        CheckpointError: If official names are not known, or nothing is under ``prefix``.
    """
    if family := find_family(state):
        try:
            state = family.convert(state, backbone if isinstance(backbone, nn.Module) else None)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        prefix = _BACKBONE
    elif prefix is None:
        prefix = _BACKBONE if any(name.startswith(_BACKBONE) for name in state) else ''
    own, prefix = _below(state, prefix)
    others = [name for name in state if not name.startswith(prefix)]
    if state.keys() >= _CLASSIFIER_KEYS and not getattr(backbone, 'gap_before_final_norm', False):
        norms = [name for name in own if _OUT_NORM.match(name)]
        others += [prefix + name for name in norms]
        own = {name: value for name, value in own.items() if name not in norms}

    own, resampled = backbone.resize_weights(own)
    shapes = {name: tuple(value.shape) for name, value in backbone.state_dict().items()}
    report = compare(own, shapes, resampled, _is_out_norm, lambda name: _is_out_norm(name) or name.startswith('head.'))
    fitted = {name: value for name, value in own.items() if name not in {*report.new, *report.left_out}}
    report.left_out += others
    return fitted, report


def log_report(report: MatchReport, title: str) -> None:
    """Log the table of a comparison."""
    _log(f'{title}\n{render(report.table())}', logging.INFO if report.fits else logging.ERROR)


def _below(state: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors under a prefix, without it, and the prefix itself in the form that the names have.

    Raises:
        CheckpointError: If there are none.
    """
    prefix = f'{prefix.rstrip(".")}.' if prefix else ''
    if prefix and not any(name.startswith(prefix) for name in state):
        (prefix,) = strip_prefixes({prefix: torch.empty(0)})  # as the names have been
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not own:
        raise CheckpointError(f'the checkpoint has nothing under {prefix!r}; it has {", ".join(list(state)[:3])}, ...')
    return own, prefix


def _is_out_norm(name: str) -> bool:
    return _OUT_NORM.match(name) is not None


def _log(message: str, level: int = logging.INFO) -> None:
    print_log(message, logger='current', level=level)
