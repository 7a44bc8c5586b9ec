"""What the command-line tools are made of, for use from Python: training, testing, inference."""

from .config import load_config
from .errors import UserError
from .run import evaluate, train
from .toolkits import TOOLKITS, Toolkit, find_toolkit, use_toolkit
from .weights import check_weights, read_checkpoint

__all__ = [
    'TOOLKITS',
    'Toolkit',
    'UserError',
    'check_weights',
    'find_toolkit',
    'load_config',
    'read_checkpoint',
    'evaluate',
    'train',
    'use_toolkit',
]
