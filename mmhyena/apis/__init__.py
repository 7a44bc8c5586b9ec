"""What the command-line tools are made of, for use from Python: training, evaluation, inference.

Names are imported when they are first used, so that a tool can parse its arguments before torch is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from .config import load_config
    from .inferencer import Inferencer
    from .run import evaluate, train
    from .toolkits import find_toolkit, use_toolkit
    from .weights import load_weights

__all__ = [
    'Inferencer',
    'UserError',
    'evaluate',
    'find_toolkit',
    'load_config',
    'load_weights',
    'train',
    'use_toolkit',
]

_HOMES = {
    'Inferencer': 'inferencer',
    'evaluate': 'run',
    'find_toolkit': 'toolkits',
    'load_config': 'config',
    'load_weights': 'weights',
    'train': 'run',
    'use_toolkit': 'toolkits',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
