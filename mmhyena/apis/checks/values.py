"""Values that no config can mean: numbers out of range, text for numbers, parts that are missing."""

from __future__ import annotations

import difflib
import inspect
import math
import numbers
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner

from mmhyena.apis.checks.nodes import children, dicts, find_class, leaves, walk
from mmhyena.errors import UserError

__all__ = ['check_model', 'check_optimizer', 'check_parts', 'check_top_level', 'check_values', 'known_keys']

# Keys that configs of the three toolkits read besides the Runner's own arguments.
_EXTRA_KEYS = {
    'auto_scale_lr', 'broken_images', 'custom_imports', 'data_check', 'data_preprocessor', 'find_unused_parameters',
    'model_wrapper_cfg', 'reduce_zero_label', 'runner_type', 'strategy', 'tta_model', 'tta_pipeline',
}  # fmt: skip
_NOT_OPTIONS = {'self', 'cfg'}
_VARIABLES = {'train_pipeline', 'val_pipeline', 'test_pipeline', 'vis_backends'}
# How alike two names must be for one to be a slip of the other. Names of helper variables are less alike.
_SIMILARITY = 0.86

_BUILT = (
    'model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg',
    'train_dataloader', 'val_dataloader', 'test_dataloader', 'custom_hooks', 'default_hooks',
)  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value % 1 == 0


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_not_negative(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_interval(value: Any) -> bool:
    return _is_count(value) or (_is_number(value) and value == -1)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_Rule = tuple[Callable[[Any], bool], str]
_COUNT: _Rule = (_is_count, 'a whole number of at least 1')
_WHOLE: _Rule = (_is_whole, 'a whole number of at least 0')
_SHARE: _Rule = (_is_share, 'a number from 0 to 1')
_AMOUNT: _Rule = (_is_not_negative, 'a number of at least 0')
_POSITIVE: _Rule = (_is_positive, 'a number above 0')
_INTERVAL: _Rule = (_is_interval, 'a whole number of at least 1, or -1')
_FLAG: _Rule = (_is_flag, 'True or False')

# What the last part of a key says about its value, or about each entry of a list under it; None is always allowed.
_LOOP_RULES: dict[str, _Rule] = {
    'max_epochs': _COUNT,
    'max_iters': _COUNT,
    'val_interval': _COUNT,
    'val_begin': _WHOLE,
}
_LOADER_RULES: dict[str, _Rule] = {
    'batch_size': _COUNT,
    'num_workers': _WHOLE,
    'prefetch_factor': _COUNT,
    **dict.fromkeys(['drop_last', 'persistent_workers', 'pin_memory'], _FLAG),
}
_OPTIMIZER_RULES: dict[str, _Rule] = {'lr': _AMOUNT, 'weight_decay': _AMOUNT, 'eps': _AMOUNT}
_WRAPPER_RULES: dict[str, _Rule] = {'accumulative_counts': _COUNT}
_CLIP_RULES: dict[str, _Rule] = {'max_norm': _POSITIVE, 'clip_value': _POSITIVE}
_SCHEDULE_RULES: dict[str, _Rule] = {'T_max': _COUNT, 'step_size': _COUNT, 'milestones': _WHOLE}
_HOOK_RULES: dict[str, _Rule] = {'interval': _INTERVAL, 'max_keep_ckpts': _INTERVAL}
_PIXEL_RULES: dict[str, _Rule] = {'std': _POSITIVE, 'pad_size_divisor': _COUNT}
# All that MMEngine's DefaultOptimWrapperConstructor reads.
_PARAMWISE_KEYS = {
    'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult',
    'dcn_offset_lr_mult', 'bypass_duplicate', 'custom_keys',
}  # fmt: skip
_MODEL_RULES: dict[str, _Rule] = {
    **dict.fromkeys(
        ['in_channels', 'out_channels', 'channels', 'feat_channels', 'embed_dims', 'dims', 'depths', 'num_classes',
         'conv_out_channels', 'fc_out_channels', 'num_heads', 'num_outs', 'position_dim', 'position_dims',
         'patch_size', 'kernel_size', 'kernel_sizes', 'img_size'],
        _COUNT,
    ),
    **dict.fromkeys(['drop_path_rate', 'drop_rate', 'attn_drop_rate'], _SHARE),
}  # fmt: skip


def known_keys() -> set[str]:
    """Return the top-level keys that a run reads."""
    return (set(inspect.signature(Runner.__init__).parameters) - _NOT_OPTIONS) | _EXTRA_KEYS


def check_top_level(cfg: Config) -> None:
    """Check that no top-level key of a config file is a slip of one that a run reads.

    Other keys are variables of the config's own.

    Raises:
        UserError: Naming the key and the one that is meant.
    """
    known = known_keys()
    for key, value in cfg.items():
        close = difflib.get_close_matches(key, known, n=1, cutoff=_SIMILARITY)
        # val_evaluator_abs is a variable; so is what holds something else than such a key does.
        if key in known | _VARIABLES or not close or key.startswith(f'{close[0]}_'):
            continue
        if isinstance(value, (dict, list, int, float)):
            raise UserError(f"config {cfg.filename}: unknown key '{key}': did you mean '{close[0]}'?")


def check_model(cfg: Config) -> None:
    """Check that a config has a model.

    Raises:
        UserError: If it has none, or something else than a dict for it.
    """
    if not isinstance(cfg.get('model'), dict):
        found = 'has no model' if cfg.get('model') is None else f'model is {cfg.model!r}'
        raise UserError(f'config {cfg.filename}: {found}: set model to a dict with a type')


def check_parts(cfg: Config, splits: tuple[str, ...]) -> None:
    """Check that a config has all parts that the loops of ``splits`` need, each of the kind that it must be.

    Raises:
        UserError: Naming the key that is missing or of another kind.
    """
    check_model(cfg)
    for split in splits:
        last = 'optim_wrapper' if split == 'train' else f'{split}_evaluator'
        parts = (f'{split}_dataloader', f'{split}_cfg', last)
        missing = [key for key in parts if cfg.get(key) is None]
        if len(missing) == len(parts) and split == 'val':
            continue
        if missing:
            raise UserError(f'config {cfg.filename} has no {" and no ".join(missing)}: set {", ".join(parts)} together')
        for key in parts:
            if not isinstance(cfg[key], (dict, list) if key == last else dict):
                raise UserError(f'{key} must be a dict, got {cfg[key]!r}')
    for key in ('default_hooks', 'env_cfg', 'visualizer', 'log_processor', 'randomness'):
        if cfg.get(key) is not None and not isinstance(cfg[key], dict):
            raise UserError(f'{key} must be a dict, got {cfg[key]!r}')
    for i, hook in children(cfg.get('custom_hooks')):
        if not isinstance(hook, dict) or 'type' not in hook:
            raise UserError(f'custom_hooks.{i} must be a dict with a type, got {hook!r}')


def check_values(cfg: Config) -> None:
    """Check the numbers of a config whose range is known by their names.

    Raises:
        UserError: Naming the key, its value and its range.
    """
    for key, value, (holds, what) in _ruled(cfg):
        for name, entry in leaves(value, key):
            if entry is not None and not holds(entry):
                raise UserError(f'{name} must be {what}, got {entry!r}')
    if not isinstance(cfg.get('resume', False), (bool, type(None))):
        raise UserError(f'resume must be True or False, got {cfg.resume!r}: name a checkpoint in load_from')
    if not isinstance(cfg.get('load_from'), (str, type(None))):
        raise UserError(f'load_from must be the name of a file, got {cfg.load_from!r}')
    for part in _BUILT:
        for key, value in leaves(cfg.get(part), part):
            if isinstance(value, float) and math.isnan(value):
                raise UserError(f'{key} is not a number (nan): set it to one')


def check_optimizer(cfg: Config) -> None:
    """Check that the optimizer is registered and that ``paramwise_cfg`` is read, which MMEngine does not say.

    Raises:
        UserError: Naming it.
    """
    wrapper = cfg.get('optim_wrapper')
    optimizer = wrapper.get('optimizer') if isinstance(wrapper, dict) else None
    name = optimizer.get('type') if isinstance(optimizer, dict) else None
    if isinstance(name, str) and find_class(OPTIMIZERS, name) is None:
        close = difflib.get_close_matches(name, OPTIMIZERS.module_dict, n=1)
        hint = f': did you mean {close[0]!r}?' if close else ''
        raise UserError(f'optim_wrapper.optimizer.type: {name!r} is no optimizer that is registered{hint}')
    if isinstance(wrapper, dict) and wrapper.get('constructor') in (None, 'DefaultOptimWrapperConstructor'):
        for key, _ in children(wrapper.get('paramwise_cfg')):
            if key not in _PARAMWISE_KEYS:
                known = difflib.get_close_matches(key, _PARAMWISE_KEYS, n=1) or sorted(_PARAMWISE_KEYS)
                raise UserError(f'optim_wrapper.paramwise_cfg.{key} is not read: use {" or ".join(known)}')


def _ruled(cfg: Config) -> Iterator[tuple[str, Any, _Rule]]:
    """Yield the key, the value and the rule of every entry of a config that has one."""
    for split in ('train', 'val', 'test'):
        yield from _direct(f'{split}_dataloader', cfg, _LOADER_RULES)
    yield from _direct('train_cfg', cfg, _LOOP_RULES)
    yield from _direct('optim_wrapper', cfg, _WRAPPER_RULES)
    yield from _direct('log_processor', cfg, {'window_size': _COUNT})
    for part, node in dicts(cfg.get('param_scheduler'), 'param_scheduler'):
        yield from _entries(part, node, _SCHEDULE_RULES)
    for part in ('default_hooks', 'custom_hooks'):
        for name, hook in children(cfg.get(part)):
            yield from _entries(f'{part}.{name}', hook, _HOOK_RULES)
    for part, node in dicts({name: cfg.get(name) for name in ('optim_wrapper', 'data_preprocessor', 'model')}):
        name = part.rpartition('.')[2]
        if name in ('clip_grad', 'data_preprocessor'):
            yield from _entries(part, node, _CLIP_RULES if name == 'clip_grad' else _PIXEL_RULES)
    optimizer = {'optim_wrapper': cfg.get('optim_wrapper')}
    for key, value in walk(optimizer):
        parts = key.split('.')
        if len(parts) > 2 and parts[-2] == 'optimizer' and parts[-1] in _OPTIMIZER_RULES:
            yield key, value, _OPTIMIZER_RULES[parts[-1]]
    for key, value in walk(cfg.get('model'), 'model'):
        name = key.rpartition('.')[2]
        if name in _MODEL_RULES and not isinstance(value, dict):
            yield key, value, _MODEL_RULES[name]


def _direct(part: str, cfg: Config, rules: dict[str, _Rule]) -> Iterator[tuple[str, Any, _Rule]]:
    yield from _entries(part, cfg.get(part), rules)


def _entries(part: str, node: Any, rules: dict[str, _Rule]) -> Iterator[tuple[str, Any, _Rule]]:
    for name, value in children(node):
        if name in rules:
            yield f'{part}.{name}', value, rules[name]
