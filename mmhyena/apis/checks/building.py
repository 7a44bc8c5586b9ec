"""Errors raised while a config is built, or by its first batch, as one line that names the config key.

MMEngine builds everything through a few functions. Whatever was raised below one of them is a mistake in the part of
the config that the function was building, and the arguments of the nested ``build_from_cfg`` calls lead to the entry.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch.distributed
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner.base_loop import BaseLoop
from torch import nn

from mmhyena.apis.checks.nodes import children, dicts, get, leaves, short_name
from mmhyena.errors import UserError, one_line

__all__ = ['config_errors', 'find_key']

# What the runner's methods build; {split} is that of the loop around them.
_BUILDERS = {
    'build_model': 'model',
    '_build_model': 'model',
    '_build_inner': 'test_dataloader.dataset',
    'wrap_model': 'model_wrapper_cfg',
    '_init_model_weights': 'model',
    'build_optim_wrapper': 'optim_wrapper',
    'scale_lr': 'auto_scale_lr',
    'build_param_scheduler': 'param_scheduler',
    'build_train_loop': 'train_cfg',
    'build_val_loop': 'val_cfg',
    'build_test_loop': 'test_cfg',
    'build_dataloader': '{split}_dataloader',
    'build_evaluator': '{split}_evaluator',
    'build_visualizer': 'visualizer',
    'build_log_processor': 'log_processor',
    'register_default_hooks': 'default_hooks',
    'register_custom_hooks': 'custom_hooks',
    'setup_env': 'env_cfg',
    'set_randomness': 'randomness',
    'build_logger': 'log_level',
    'load_or_resume': 'load_from',
}
_CONNECTION_ERRORS = tuple(
    kind for kind in (getattr(torch.distributed, name, None) for name in ('DistError', 'DistBackendError')) if kind
)
_CONNECTION = re.compile(r'gloo/|NCCL|Connection (closed|reset|refused)|Broken pipe|[Tt]imed? ?out', re.ASCII)
_FIRST_HOOKS = ('before_run', 'before_train', 'before_val', 'before_test', 'before_train_epoch', 'after_val_epoch')


class _Frame:
    """One frame of a traceback: its function, the line that failed, and its variables."""

    def __init__(self, frame: FrameType, line: int) -> None:
        self.name = frame.f_code.co_name
        self.module = frame.f_globals.get('__name__', '')
        self.variables = frame.f_locals
        self.owner = frame.f_locals.get('self')
        self._file, self._line = frame.f_code.co_filename, line

    @property
    def text(self) -> str:
        """The source line."""
        return linecache.getline(self._file, self._line)


@contextmanager
def config_errors(cfg: Any, split: str = 'train') -> Iterator[None]:
    """Raise a :class:`UserError` with the config key for what is raised while parts of ``cfg`` are built.

    That covers the builders of MMEngine's runner, the first batch of each loop, and evaluation. What is raised later
    is no mistake in the config and stays as it is.

    Args:
        cfg: The config, or a dict of top-level keys and values.
        split: Whose data loader is built outside a loop.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if _is_between_ranks(error):
            raise
        remedy = _remedy(error)
        # A batch of one image can come at any iteration, and is always a matter of the config.
        key = find_key(error, cfg, split) or ('train_dataloader.batch_size' if remedy else None)
        if key is None:
            raise
        raise UserError(f'{key}: {one_line(error)}{remedy}') from error


def _remedy(error: Exception) -> str:
    if 'Expected more than 1 value per channel' in str(error):
        return (
            ': batch normalization needs 2 images per batch or more: raise train_dataloader.batch_size, or set '
            'train_dataloader.drop_last=True'
        )
    return ''


def _is_between_ranks(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, is a failed connection of processes: no mistake in a config.

    Another process ended, whose own error says why. torch 2.1 raises a plain RuntimeError for it from its collectives.
    """
    if error is None:
        return False
    if isinstance(error, _CONNECTION_ERRORS):
        return True
    if type(error) is RuntimeError and _CONNECTION.search(str(error)):
        return True
    return _is_between_ranks(error.__cause__)


def find_key(error: Exception, cfg: Any, split: str = 'train') -> str | None:
    """Return the dotted key of the config entry that an exception is about, or None if nothing was being built."""
    frames = list(_frames(error))
    cfg = {name: cfg.get(name) for name in cfg}
    found = _find_builder(frames, split) or _find_first_batch(frames, cfg)
    if found is None:
        return None
    key, inner = found
    node = get(cfg, key)
    for frame in inner:
        if frame.name in ('build_from_cfg', 'build_model_from_cfg') and isinstance(frame.variables.get('cfg'), dict):
            key, node = _descend(key, node, cfg, frame.variables['cfg'])
    return _argument(error, key, node, inner)


def _frames(error: BaseException) -> Iterator[_Frame]:
    """Yield the frames of a traceback from the outermost, those of the exception that it was raised from last."""
    traceback = error.__traceback__
    while traceback is not None:
        yield _Frame(traceback.tb_frame, traceback.tb_lineno)
        traceback = traceback.tb_next
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _frames(cause)


def _find_builder(frames: Sequence[_Frame], split: str) -> tuple[str, list[_Frame]] | None:
    """Return the top-level key that a runner's method was building, and the frames below that method."""
    found = None
    for i, frame in enumerate(frames):
        match = re.fullmatch('build_(train|val|test)_loop', frame.name)
        if match:
            split = match[1]
        known = frame.name in _BUILDERS and frame.module.startswith(('mmengine.', 'mmhyena.'))
        if known:
            found = _BUILDERS[frame.name].format(split=split), list(frames[i:])
    return found


def _find_first_batch(frames: Sequence[_Frame], cfg: dict[str, Any]) -> tuple[str, list[_Frame]] | None:
    """Return the key of what failed in the first batch of a loop, in a hook before it, or in an evaluation."""
    loops = [(i, frame) for i, frame in enumerate(frames) if isinstance(frame.owner, BaseLoop)]
    if not loops:  # before_run comes before them
        starts = [i for i, frame in enumerate(frames) if isinstance(frame.owner, Hook) and frame.name == 'before_run']
        return (_hook_key(frames[starts[0]].owner, cfg), list(frames[starts[0] :])) if starts else None
    start, last = loops[-1]
    inner = list(frames[start + 1 :])
    split = next((name for name in ('val', 'test') if name in type(last.owner).__name__.lower()), 'train')
    if any(isinstance(frame.owner, Evaluator) for frame in inner):
        return f'{split}_evaluator', inner
    is_first = last.variables.get('idx', 0) == 0 if split != 'train' else getattr(last.owner, '_iter', 0) == 0
    hook = next((frame for frame in inner if isinstance(frame.owner, Hook)), None)
    if not is_first and not (hook and hook.name in _FIRST_HOOKS):
        return None
    if hook is not None:
        return _hook_key(hook.owner, cfg), inner
    if any(frame.module.startswith('torch.utils.data') for frame in inner):
        return f'{split}_dataloader', inner
    if any(isinstance(frame.owner, OptimWrapper) and 'step' in frame.name for frame in inner):
        return 'optim_wrapper', inner
    return _module_key(inner, cfg) or f'{split}_cfg', inner


def _hook_key(hook: Hook, cfg: dict[str, Any]) -> str:
    parts = {name: cfg.get(name) for name in ('custom_hooks', 'default_hooks')}
    name = type(hook).__name__
    return next((key for key, node in dicts(parts) if short_name(node.get('type')) == name), 'custom_hooks')


def _module_key(frames: Sequence[_Frame], cfg: dict[str, Any]) -> str | None:
    """Return the config key of the innermost module whose forward pass failed."""
    modules = [frame.owner for frame in frames if isinstance(frame.owner, nn.Module)]
    root = next((module for module in modules if hasattr(module, 'train_step')), None)
    if root is None:
        return None
    names = {id(module): name for name, module in root.named_modules()}
    path = next((names[id(module)] for module in reversed(modules) if id(module) in names), '')
    key = 'model'
    for part in path.removeprefix('module.').split('.'):
        if get(cfg, f'{key}.{part}') is None:
            break
        key = f'{key}.{part}'
    return key


def _descend(key: str, node: Any, cfg: dict[str, Any], built: dict) -> tuple[str, Any]:
    """Return the key and the value of the entry that was built from the dict ``built``."""
    for start, place in ((key, node), ('', cfg)):
        inside = list(dicts(place, start))
        same = [(name, entry) for name, entry in inside if entry is built or entry == built]
        alike = [(name, entry) for name, entry in inside if _resembles(entry, built)]
        if same or alike:
            return (same or alike)[0]
    return key, node


def _resembles(entry: dict, built: dict) -> bool:
    """Whether ``built`` may be a config entry that a constructor has added to, or taken away from."""
    if not entry.get('type') or short_name(entry['type']) != short_name(built.get('type')):
        return False
    shared = [name for name in entry if name in built]
    return all(entry[name] == built[name] for name in shared if not isinstance(entry[name], (dict, list)))


def _argument(error: Exception, key: str, node: Any, frames: Sequence[_Frame]) -> str:
    """Return ``key`` with the name of the argument that the message or the failing lines are about, if one is found."""
    message = one_line(error)
    if match := re.search(r"unexpected keyword argument '(\w+)'", message):
        return f'{key}.{match[1]}' if isinstance(node, dict) and match[1] in node else key
    quoted = set(re.findall(r"['\"`]([^'\"`]+)['\"`]", message)) | set(re.findall(r'(\S+) is not in the', message))
    named = [name for name, value in leaves(node) if isinstance(value, str) and value in quoted]
    if len(named) == 1:
        return f'{key}.{named[0]}'
    names = [name for name, _ in children(node) if not name.isdigit() and name != 'type']
    places = [message, *(frame.text for frame in reversed(frames) if frame.module.split('.')[0] != 'torch')]
    for text in places:
        words = set(re.findall(r'[A-Za-z_]\w*', text))
        found = [name for name in names if name in words]
        if len(found) == 1:
            return f'{key}.{found[0]}'
    return key
