"""What the command-line tools are made of, for use from Python: training, evaluation, inference.

Names are imported when they are first used, so that a tool can parse its arguments before torch is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mmhyena.errors import UserError

if TYPE_CHECKING:
    from mmhyena.apis.config import load_config
    from mmhyena.apis.fusing import fuse_for_inference
    from mmhyena.apis.inference.inferencer import Inferencer
    from mmhyena.apis.run import evaluate, train
    from mmhyena.apis.toolkits import find_toolkit, use_toolkit
    from mmhyena.apis.weights import load_weights

__all__ = [
    'Inferencer',
    'UserError',
    'evaluate',
    'find_toolkit',
    'fuse_for_inference',
    'load_config',
    'load_weights',
    'train',
    'use_toolkit',
]

_HOMES = {
    'Inferencer': 'inference.inferencer',
    'evaluate': 'run',
    'find_toolkit': 'toolkits',
    'fuse_for_inference': 'fusing',
    'load_config': 'config',
    'load_weights': 'weights',
    'train': 'run',
    'use_toolkit': 'toolkits',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
