"""MMEngine reads every checkpoint by the one reader of this package.

MMEngine's own loaders fall back to executing what a file says. Importing this module puts
:func:`~mmhyena.checkpoints.read_checkpoint` in the place of all of them: ``load_from``, ``resume``, ``init_cfg`` of any
module of any toolkit, and ``load_checkpoint`` end there, and know the same addresses (``hf://`` among them). Likewise
:class:`~mmhyena.checkpoints.ReportedInit` takes the place of ``Pretrained``, which skips what does not fit.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader

from mmhyena.checkpoints.loading import ReportedInit
from mmhyena.checkpoints.reading import read_checkpoint

__all__ = ['load_from_mmhyena', 'use_our_reader']

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
    """Register :func:`load_from_mmhyena` for every address that MMEngine knows, and what ``init_cfg`` calls."""
    CheckpointLoader.register_scheme(_SCHEMES, load_from_mmhyena, force=True)
    WEIGHT_INITIALIZERS.register_module(name='Pretrained', module=ReportedInit, force=True)


use_our_reader()
