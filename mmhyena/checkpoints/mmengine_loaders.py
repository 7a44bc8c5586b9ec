"""MMEngine and its toolkits read every checkpoint by the one reader of this package.

MMEngine's own loaders fall back to executing what a file says. Importing this module puts
:func:`~mmhyena.checkpoints.read_checkpoint` in the place of all of them: ``load_from``, ``resume``, ``init_cfg`` of any
module of any toolkit, and ``load_checkpoint`` end there, and know the same addresses (``hf://`` among them). Likewise
:class:`~mmhyena.checkpoints.ReportedInit` takes the place of ``Pretrained``, which skips what does not fit.

The toolkits also call ``torch.load`` themselves for what is no model: the codebook of a vector quantizer, SwAV's queue,
the prototypes of a retriever, a text encoder. Before torch 2.6 it executes what such a file says. Calls from their
modules end at the reader as well; anybody else's reach torch's own function as they are. Data files that could execute
something are read by :mod:`~mmhyena.checkpoints.data_files`.
"""

from __future__ import annotations

import functools
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader

from mmhyena.checkpoints.data_files import use_safe_data_files
from mmhyena.checkpoints.loading import ReportedInit
from mmhyena.checkpoints.reading import read_checkpoint, read_tensors

__all__ = ['load_from_mmhyena', 'use_our_reader']

_TOOLKITS = ('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg')
# All that MMEngine registers; a pattern is a prefix of the address, and the empty one stands for local files.
_SCHEMES = (
    ('', 'http://', 'https://', 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')
    + ('modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'mmcls://')
    + ('hf://',)
)


def load_from_mmhyena(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint for MMEngine, onto the CPU: whoever loads it moves it.

    MMEngine logs the name of this function from the eleventh letter on.
    """
    checkpoint = read_checkpoint(filename)
    if filename.startswith('mmcls://'):  # stands for the backbone of a classifier
        prefix = 'backbone.'
        state = checkpoint.get('state_dict', checkpoint)
        return dict(
            state_dict=OrderedDict((k.removeprefix(prefix), v) for k, v in state.items() if k.startswith(prefix))
        )
    return checkpoint


def use_our_reader() -> None:
    """Register :func:`load_from_mmhyena` for every address that MMEngine knows, and what ``init_cfg`` calls.

    ``torch.load`` becomes a function that asks who calls. Data files are read safely from then on, too.
    """
    use_safe_data_files()
    CheckpointLoader.register_scheme(_SCHEMES, load_from_mmhyena, force=True)
    WEIGHT_INITIALIZERS.register_module(name='Pretrained', module=ReportedInit, force=True)
    if not hasattr(torch.load, 'serves_toolkits'):
        torch.load = _for_toolkits(torch.load)


def _for_toolkits(torch_load: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``torch.load`` with the safe reader for what the toolkits' modules load."""

    @functools.wraps(torch_load)
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1).f_globals.get('__name__', '')
        if caller.partition('.')[0] not in _TOOLKITS:
            return torch_load(f, *args, **kwargs)
        return read_tensors(f, args[0] if args else kwargs.get('map_location'))

    load.serves_toolkits = True  # type: ignore[attr-defined]
    return load


use_our_reader()
