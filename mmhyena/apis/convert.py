"""Official checkpoints to ours and back, as files."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmhyena.backbones import HyenaFormer, HyenaViT
from mmhyena.checkpoints import (
    CheckpointError,
    MatchReport,
    compare,
    convert_official,
    find_family,
    is_official,
    official_classifier,
    read_checkpoint,
    revert_official,
    unwrap,
)
from mmhyena.errors import UserError, name_checkpoint
from mmhyena.version import __version__

__all__ = ['Conversion', 'arch_shapes', 'convert_checkpoint', 'find_arch', 'save_checkpoint']

_OFFICIAL_MIXERS = {'HyenaPixel', 'BidirectionalHyena', 'SepConv', 'Attention'}


@dataclass
class Conversion:
    """A checkpoint in the other form.

    Attributes:
        arch: The architecture that it was compared with.
        wrapper: Where in the source the weights were.
        report: How the weights fit the architecture.
        checkpoint: What to save: a dict with ``state_dict`` and ``meta``, or an official state dict.
    """

    arch: str
    wrapper: str
    report: MatchReport
    checkpoint: dict


def convert_checkpoint(
    source: str | Path,
    arch: str | None = None,
    weights: str = 'auto',
    reverse: bool = False,
    official_args: Mapping[str, Any] | None = None,
) -> Conversion:
    """Read a checkpoint, compare it with its architecture and translate it.

    Args:
        source: File or URL of an official checkpoint, or of ours if ``reverse``.
        arch: Name of the architecture; None finds the one that fits best.
        weights: Which weights of a checkpoint with a moving average, see :func:`~mmhyena.checkpoints.unwrap`.
        reverse: Whether to go from ours to official names; HyenaPixel and bidirectional Hyena alone.
        official_args: What the tensors of IBiT and Hyena N-D do not tell, see
            :func:`~mmhyena.checkpoints.official_classifier`. The arguments that a Hyena N-D checkpoint holds are taken
            if none are given.

    Returns:
        The conversion, also of a poor match: ask its report whether everything fits.

    Raises:
        UserError: If the source cannot be read, has names that are not known, or is already what it should become.
    """
    known = [*HyenaFormer.arch_settings, *HyenaViT.arch_settings]
    if arch is not None and arch not in known:
        raise UserError(f'arch {arch!r} is unknown; choose one of {", ".join(known)}')
    try:
        content = read_checkpoint(source)
        with name_checkpoint(source):
            state, wrapper = unwrap(content, weights)
        if not reverse and not is_official(state) and find_family(state):
            return _convert_classifier(source, state, wrapper, arch, dict(official_args or {}), content.get('args'))
        if official_args:
            raise UserError(f'{source} takes no {", ".join(official_args)}: IBiT and Hyena N-D checkpoints do')
        if is_official(state) is reverse:
            hint = 'has official names already: drop --reverse' if reverse else _why_not_official(state)
            raise UserError(f'{source} {hint}')
        ours = dict(state) if reverse else convert_official(state)
        if arch in HyenaViT.arch_settings:
            raise UserError(f'{source} is of HyenaPixel or bidirectional Hyena, not of {arch}: drop --arch')
        if arch is None:
            arch, report = find_arch(ours)
        else:
            report = compare(ours, arch_shapes(arch, ours))
        checkpoint: dict[str, Any]
        if reverse:
            checkpoint = OrderedDict(revert_official(ours)) if report.fits else OrderedDict()
        else:
            meta = dict(arch=arch, source=Path(source).name, weights=wrapper, mmhyena_version=__version__)
            checkpoint = dict(meta=meta, state_dict=OrderedDict(ours))
    except CheckpointError as error:
        raise UserError(str(error)) from error
    except ValueError as error:
        raise UserError(f'{source}: {error}') from error
    return Conversion(arch, wrapper, report, checkpoint)


def _convert_classifier(
    source: str | Path,
    state: Mapping[str, Tensor],
    wrapper: str,
    arch: str | None,
    official_args: dict[str, Any],
    saved_args: Any,
) -> Conversion:
    """Translate an official classifier whose tensors tell its architecture; the config goes into ``meta``."""
    family = find_family(state)
    if family and 'args' in family.official_args and isinstance(saved_args, argparse.Namespace):
        official_args.setdefault('args', saved_args)
    config, ours = official_classifier(state, **official_args)
    found = config['backbone']['arch']
    name = found if isinstance(found, str) else ', '.join(f'{key} {value}' for key, value in found.items())
    if arch not in (None, name):
        raise UserError(f'{source} is of {name}, not of {arch}: drop --arch')
    meta = dict(arch=name, source=Path(source).name, weights=wrapper, mmhyena_version=__version__, model=config)
    report = MatchReport(matched=list(ours))
    return Conversion(name, wrapper, report, dict(meta=meta, state_dict=OrderedDict(ours)))


def _why_not_official(state: Mapping[str, Tensor]) -> str:
    if any(name.startswith('backbone.') for name in state):
        return 'has the names of this package already; --reverse converts it to official ones'
    return f'is no official HyenaPixel, IBiT or Hyena N-D checkpoint; it has {", ".join(list(state)[:3])}, ...'


def find_arch(state: Mapping[str, Tensor]) -> tuple[str, MatchReport]:
    """Return the architecture that a state dict of ours fits best, and how."""
    reports = {arch: compare(state, arch_shapes(arch, state)) for arch in _candidates(state)}
    arch = max(reports, key=lambda arch: len(reports[arch].matched) - len(reports[arch].missing))
    return arch, reports[arch]


def _candidates(state: Mapping[str, Tensor]) -> list[str]:
    """Return the published kinds of architecture with as many blocks as ``state`` has, or all if none has."""
    blocks = {match[0] for name in state if (match := re.match(r'backbone\.stages\.\d+\.\d+\.', name))}
    depths = tuple(sum(block.startswith(f'backbone.stages.{i}.') for block in blocks) for i in range(4))
    settings = HyenaFormer.arch_settings
    known = [
        name for name, arch in settings.items() if {mixer['type'] for mixer in arch['token_mixers']} <= _OFFICIAL_MIXERS
    ]
    return [name for name in known if tuple(settings[name]['depths']) == depths] or known


def arch_shapes(arch: str, state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of an architecture, in the kind of model that ``state`` is from.

    That is a classifier with :class:`~mmhyena.heads.MetaFormerClsHead` for as many classes as ``state`` has, or a
    backbone with the output norms that ``state`` has, all under ``backbone.``.
    """
    classifier = any(name.startswith('head.') for name in state)
    norms = tuple(i for i in range(4) if f'backbone.norm{i}.weight' in state)
    shapes = dict(_backbone_shapes(arch, (3,) if classifier else norms or (0, 1, 2, 3)))
    if classifier:
        channels = HyenaFormer.arch_settings[arch]['channels'][-1]
        hidden = 4 * channels
        classes = len(state['head.fc2.weight']) if 'head.fc2.weight' in state else 1000
        shapes |= {'head.fc1.weight': (hidden, channels), 'head.fc1.bias': (hidden,)}
        shapes |= {'head.norm.weight': (hidden,), 'head.norm.bias': (hidden,)}
        shapes |= {'head.fc2.weight': (classes, hidden), 'head.fc2.bias': (classes,)}
    return shapes


@cache
def _backbone_shapes(arch: str, out_indices: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    with torch.device('meta'):
        backbone = HyenaFormer(arch, out_indices=out_indices)
    return {f'backbone.{name}': tuple(value.shape) for name, value in backbone.state_dict().items()}


def _save_safetensors(checkpoint: Mapping[str, Any], file: Path) -> None:
    """Write the weights, and what is beside them as JSON; :func:`~mmhyena.checkpoints.read_checkpoint` reads both."""
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise UserError("a .safetensors file needs safetensors: pip install 'mmhyena[hub]'") from error
    state = checkpoint.get('state_dict', checkpoint)
    metadata = {'format': 'pt'}
    if 'meta' in checkpoint:
        metadata['mmhyena'] = json.dumps(checkpoint['meta'])
    # Tensors of a file may not share memory.
    save_file(
        {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()},
        file,
        metadata,
    )


def save_checkpoint(checkpoint: dict, file: str | Path, force: bool = False) -> None:
    """Write a checkpoint in one step, so that an interrupted run leaves no half of it.

    A name that ends in ``.safetensors`` gives that format, any other a file of ``torch.save``.

    Raises:
        UserError: If the file is there and not to be replaced, or cannot be written.
    """
    file = Path(file)
    if file.exists() and not force:
        raise UserError(f'{file} is there already: --force replaces it')
    part = file.with_name(f'{file.name}.part')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == '.safetensors':
            _save_safetensors(checkpoint, part)
        else:
            torch.save(checkpoint, part)
        os.replace(part, file)
    except OSError as error:
        raise UserError(f'{file} cannot be written: {error}') from error
    finally:
        part.unlink(missing_ok=True)
