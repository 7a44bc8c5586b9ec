"""The state dict inside a checkpoint, whatever wraps it and whatever training code put before its names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from mmhyena.errors import CheckpointError

__all__ = ['WEIGHTS', 'strip_prefixes', 'unwrap']

WEIGHTS = ('auto', 'model', 'ema')
_EMA_KEYS = ('state_dict_ema', 'model_ema')  # of timm
_MODEL_KEYS = ('state_dict', 'model', 'module')  # of MMEngine and timm, of timm and others, of DeepSpeed
_MMENGINE_EMA = 'ema_state_dict'
# Wrappers of a part, wherever it is, and wrappers of a whole model.
_INNER_PREFIXES = ('_orig_mod.', '_fsdp_wrapped_module.', '_checkpoint_wrapped_module.')
_OUTER_PREFIXES = ('module.', 'model.', '_forward_module.')
_COUNTERS = ('n_averaged', 'steps')  # of averaged models of torch and MMEngine


def unwrap(checkpoint: Mapping[str, Any], weights: str = 'auto') -> tuple[dict[str, Tensor], str]:
    """Return the state dict inside a checkpoint, see also :func:`strip_prefixes`, and the name of its wrapper.

    A checkpoint of MMEngine's ``EMAHook`` holds the average in ``state_dict``; its ``ema_state_dict`` holds the raw
    weights.

    Args:
        checkpoint: A state dict, or one in ``state_dict``, ``model``, ``module``, ``state_dict_ema`` or ``model_ema``.
        weights: ``'ema'`` takes the moving average, ``'model'`` the weights beside it, ``'auto'`` the average where
            there is one, as timm does.

    Raises:
        CheckpointError: If there are no weights of that kind, or what is there is not a dict of tensors.
    """
    if weights not in WEIGHTS:
        raise CheckpointError(f'weights must be one of {", ".join(WEIGHTS)}, got {weights!r}')
    raw = checkpoint.get(_MMENGINE_EMA)
    if not (isinstance(raw, Mapping) and isinstance(checkpoint.get('state_dict'), Mapping)):
        raw = None  # not what MMEngine writes
    ema_keys = _EMA_KEYS if raw is None else ('state_dict',)
    order = {'auto': ema_keys + _MODEL_KEYS, 'ema': ema_keys, 'model': _MODEL_KEYS}[weights]
    wrapper = next((key for key in order if isinstance(checkpoint.get(key), Mapping)), None)
    if wrapper is None and weights == 'ema':
        raise CheckpointError(
            f'the checkpoint has no {" or ".join(_EMA_KEYS)}, nor {_MMENGINE_EMA} of MMEngine; it holds '
            f'{_first_keys(checkpoint)}'
        )
    state = dict(checkpoint if wrapper is None else checkpoint[wrapper])
    _check_tensors(checkpoint, state)
    state = strip_prefixes(state)
    if raw is not None and weights == 'model':
        state |= strip_prefixes(raw)
        wrapper = _MMENGINE_EMA
    return state, wrapper or 'the file itself'


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the prefixes of ``torch.compile``, DDP, FSDP, Lightning and averaged models.

    Those of a wrapped part (``backbone._orig_mod.x``) go wherever they are, those of a wrapped model (``module.``,
    ``model.``, in any combination) where every name has them. Names that would become equal keep their prefixes.
    """
    stripped = {_without(name, _INNER_PREFIXES): value for name, value in state.items()}
    if len(stripped) < len(state):
        stripped = dict(state)
    while prefix := _common_prefix(stripped):
        stripped = {name.removeprefix(prefix): value for name, value in stripped.items() if name not in _COUNTERS}
    return stripped


def _common_prefix(names: Iterable[str]) -> str | None:
    weights = [name for name in names if name not in _COUNTERS]
    return next((p for p in _OUTER_PREFIXES if weights and all(name.startswith(p) for name in weights)), None)


def _without(name: str, parts: Iterable[str]) -> str:
    for part in parts:
        name = name.replace(part, '')
    return name


def _check_tensors(checkpoint: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    if state and all(isinstance(value, Tensor) and isinstance(name, str) for name, value in state.items()):
        return
    wrapped = next((key for key in _MODEL_KEYS + _EMA_KEYS if key in checkpoint), None)
    if wrapped is not None and not isinstance(checkpoint[wrapped], Mapping):
        found = f'its {wrapped!r} is a {type(checkpoint[wrapped]).__name__}'
    elif not state:
        found = 'it is empty' if wrapped is None else f'its {wrapped!r} is empty'
    else:
        found = f'{_first_keys(name for name, value in state.items() if not isinstance(value, Tensor))} are no tensors'
    raise CheckpointError(
        f'the checkpoint has no state dict, on its own or in {", ".join(_MODEL_KEYS + _EMA_KEYS)}: {found}'
    )


def _first_keys(keys: Iterable[Any], shown: int = 5) -> str:
    names = [str(key) for key in keys]
    return ', '.join(names[:shown]) + (', ...' if len(names) > shown else '')
