"""Weights into a whole model: one comparison, by which every way of loading decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmhyena.checkpoints.families import find_family
from mmhyena.checkpoints.report import MatchReport, compare
from mmhyena.errors import CheckpointError

__all__ = ['fit_to_model', 'load_fitted']

_BACKBONE = 'backbone.'
_PREFIXES = (_BACKBONE, 'model.', 'module.', 'timm_model.')  # the last of the toolkits' TIMMBackbone
_OUT_NORM = re.compile(r'backbone\.norm\d+\.')
_CLASSIFIER_KEYS = {'head.fc1.weight', 'head.norm.weight'}

State = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


def fit_to_model(
    state: State, model: nn.Module, *, exact: bool, new: Sequence[str] = ()
) -> tuple[dict[str, Tensor], MatchReport]:
    """Return the tensors of a state dict that a model takes, under its names and in its sizes, and the report.

    Official checkpoints are converted, prefixes are brought to the model's, and filters of other kernel sizes are
    resampled. Then

    - ``exact`` asks for every tensor of the model, and for no other. Of an official classifier, a head that the model
      lacks and the final norm of the pooled features may be left out.
    - Otherwise the checkpoint is a start for training: it has to fill the backbone and may hold nothing else for it,
      output norms apart. Whatever is outside the backbone may be new, of another shape (a head for other classes) or
      left out. A model without a ``backbone`` has to find at least half of its tensors.

    Where shapes differ still, the model itself is asked to adapt what it loads, as some backbones of the toolkits do;
    this fills it.

    Args:
        state: What :func:`~mmhyena.checkpoints.unwrap` gave.
        model: A whole model, or a head or neck.
        exact: Which of the two rules holds.
        new: Patterns of further names that the checkpoint may lack, or have in another shape, if not ``exact``.

    Raises:
        CheckpointError: If official names have no counterpart. Of a poor match, ask the report.
    """
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    family = find_family(state)
    if family is None:
        state = _match_prefix(state, shapes)
    else:
        try:
            state = family.convert(state, model)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
    aside = _unused_parts(state, model, shapes, exact) if family or not exact else set()
    own, resampled = _resize(model, {name: value for name, value in state.items() if name not in aside})
    may_be_new, may_be_left_out = (_nothing, _nothing) if exact else _start_rule(own, shapes, new)
    report = compare(own, shapes, resampled, may_be_new, may_be_left_out)
    report.left_out += [name for name in state if name in aside]
    fitted = {name: value for name, value in own.items() if name not in {*report.new, *report.left_out}}
    if report.wrong_shape or (report.unexpected and exact):
        _let_model_adapt(model, fitted, report)
    return fitted, report


def _nothing(name: str) -> bool:
    return False


def _start_rule(
    state: State, shapes: Shapes, new: Sequence[str]
) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
    """Return which names may be new and which left out, see :func:`fit_to_model`."""
    patterns = [re.compile(pattern) for pattern in new]
    if not any(name.startswith(_BACKBONE) for name in shapes):
        fair = 2 * _hits(state, shapes) >= len(shapes) > 0
        return (lambda name: fair or any(p.search(name) for p in patterns)), (lambda name: fair)

    def outside(name: str) -> bool:
        return not name.startswith(_BACKBONE) or _OUT_NORM.match(name) is not None

    return (lambda name: outside(name) or any(p.search(name) for p in patterns)), outside


def _hits(state: State, shapes: Shapes) -> int:
    return sum(name in shapes and tuple(value.shape) == shapes[name] for name, value in state.items())


def _match_prefix(state: State, shapes: Shapes) -> State:
    """Return the state dict under the prefix by which most of its tensors are the model's.

    Prefixes have been stripped before; a model may have one of its own, and a checkpoint of a backbone none.
    """
    options: list[State] = [state]
    options += [{prefix + name: value for name, value in state.items()} for prefix in _PREFIXES]
    options.append({name.removeprefix(_BACKBONE): v for name, v in state.items() if name.startswith(_BACKBONE)})
    return max(options, key=lambda option: _hits(option, shapes))  # the first of equals


def _unused_parts(state: State, model: nn.Module, shapes: Shapes, exact: bool) -> set[str]:
    """Return the parts of a classifier that another model does not use."""
    unused: set[str] = set()
    head = {name for name in state if name.startswith('head.')}
    if exact and any(shapes.get(name) != tuple(state[name].shape) for name in head):
        unused |= head
    backbone = getattr(model, 'backbone', None)
    if state.keys() >= _CLASSIFIER_KEYS and not getattr(backbone, 'gap_before_final_norm', False):
        unused |= {name for name in state if _OUT_NORM.match(name)}  # made for the mean over a feature map
    return unused


def _resize(model: nn.Module, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Resample for each backbone of ours in a model, under its prefix."""
    notes: dict[str, str] = {}
    for place, module in model.named_modules():
        resize = getattr(module, 'resize_weights', None)
        if resize is None:
            continue
        prefix = f'{place}.' if place else ''
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        resized, changed = resize(own)
        state = state | {prefix + name: value for name, value in resized.items()}
        notes |= {prefix + name: note for name, note in changed.items()}
    return state, notes


def _let_model_adapt(model: nn.Module, state: State, report: MatchReport) -> None:
    """Load, and correct the report if the model itself turned tensors of other names or shapes into its own."""
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError:  # torch's word for shapes that nothing adapted, which the report has
        return
    report.resampled |= report.wrong_shape
    report.wrong_shape = {}
    report.missing = [name for name in report.missing if name in result.missing_keys]
    report.unexpected = [name for name in report.unexpected if name in result.unexpected_keys]


def load_fitted(model: Any, fitted: State) -> None:
    """Fill a model, or a backbone, with tensors that fit its names.

    Raises:
        CheckpointError: If the model takes some of them under other names, so that they would stay as they were.
    """
    lost = sorted(set(model.load_state_dict(fitted, strict=False).missing_keys) & set(fitted))
    if lost:
        raise CheckpointError(
            f'{len(lost)} tensors are not taken by a module that renames them as it loads: {", ".join(lost[:3])}'
        )
