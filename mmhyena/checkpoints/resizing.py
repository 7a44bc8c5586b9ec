"""Long filters of a checkpoint, resampled to the kernel sizes of the model that loads them.

A resampled kernel is the one that ``filter_resize`` gives at run time, by the same rule
(:func:`~mmhyena.layers.filters.resample.tap_spacing`): its values take the factor by which the taps became sparser or
denser, so the sum over them stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from mmhyena.layers.filters.resample import axis_spacings, resample, resample_distance, tap_spacing

__all__ = ['resize_filters']

_TABLE = '.filter.position.table'
_KERNEL = '.filter.kernel'

Shapes = Mapping[str, tuple[int, ...]]
State = Mapping[str, Tensor]


def resize_filters(state: State, shapes: Shapes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Resample long filters where the model has other kernel sizes.

    - HyenaPixel and bidirectional Hyena: positional encoding and window are stretched over the new taps. The window
      keeps its shape, from the center to the edge: its distances stay in pixels of the old kernel (an edge 55 away
      remains 55 away), hence its rates stay valid.
    - Hyena N-D, joint and product filters: one table serves all axes, so a checkpoint does not tell the proportions of
      its maps; they are taken to be the model's. Direct filters are resampled themselves. Rates of a symmetric window
      count taps and are stretched; other windows have a rate per axis, in units of the map.

    The factor of the kernel goes into the last layer of the filter network, or into the direct kernel.

    Args:
        state: Tensors of the checkpoint under our names.
        shapes: Shape of every tensor of the model.

    Returns:
        The state dict with resampled filters (other tensors are shared), and the names that were resampled with a
        note on the sizes.
    """
    result, notes = dict(state), dict[str, str]()
    for name, value in state.items():
        old, new = tuple(value.shape), tuple(shapes.get(name, value.shape))
        if old == new or len(old) != len(new):
            continue
        if name.endswith(_KERNEL) and old[0] == new[0]:  # (C, *kernel)
            changed = _resize_direct(state, name, new[1:])
            note = _taps(old[1:], new[1:])
        elif name.endswith(_TABLE) and old[-1] == new[-1]:  # (*kernel, dim)
            changed = _resize_encoded(state, name, new[:-1])
            note = _taps(old[:-1], new[:-1])
        else:
            continue
        result |= changed
        notes |= {other: note for other in changed if changed[other].shape != state[other].shape}
    return result, notes


def _resize_direct(state: State, name: str, size: Sequence[int]) -> dict[str, Tensor]:
    """Return the tensors of a filter without a network that change."""
    old = state[name].shape[1:]
    kernel = resample(state[name], size) * tap_spacing(old, size)
    return {name: kernel} | _stretch_symmetric(state, name.removesuffix(_KERNEL), min(axis_spacings(old, size)))


def _resize_encoded(state: State, name: str, size: Sequence[int]) -> dict[str, Tensor]:
    """Return the tensors of a filter network with a positional encoding that change, or none of an unknown kind."""
    prefix, old = name.removesuffix(_TABLE), state[name].shape[:-1]
    table = resample(state[name].movedim(-1, 0), size).movedim(0, -1).contiguous()
    if last := _last_layer(state, rf'{re.escape(prefix)}\.filter\.mlp\.(\d+)\.weight'):
        changed = {name: table, last: state[last] * tap_spacing(old, size)}
        distance = f'{prefix}.window.distance'
        if distance in state and state[distance].shape == old:
            changed[distance] = resample_distance(state[distance], size)
        return changed
    networks = _nd_networks(state, prefix)
    if not networks:
        return {}
    (spacing,) = axis_spacings(old, size)
    changed = {layer: state[layer] * spacing**axes for layer, axes in networks.items()}
    return {name: table} | changed | _stretch_symmetric(state, prefix, spacing)


def _nd_networks(state: State, prefix: str) -> dict[str, int]:
    """Return the last weight of each network of a joint or product filter, with the number of axes it serves."""
    pattern = re.compile(rf'({re.escape(prefix)}\.filter\.mlps?(?:\.\d+)?\.layers)\.\d+\.weight')
    dim = state[prefix + _TABLE].shape[-1]
    networks = {}
    for layers in {match[1] for name in state if (match := pattern.fullmatch(name))}:
        if last := _last_layer(state, rf'{re.escape(layers)}\.(\d+)\.weight'):
            networks[last] = state[f'{layers}.0.weight'].shape[1] // dim
    return networks


def _last_layer(state: State, pattern: str) -> str | None:
    """Return the name with the highest number, the pattern's only group, or None where there is no such name."""
    layers = [(int(match[1]), name) for name in state if (match := re.fullmatch(pattern, name))]
    return max(layers)[1] if layers else None


def _stretch_symmetric(state: State, prefix: str, spacing: float) -> dict[str, Tensor]:
    name = f'{prefix}.window.delta'
    return {name: state[name] * spacing} if name in state and state[name].dim() == 1 else {}


def _taps(old: Sequence[int], new: Sequence[int]) -> str:
    return f'{"x".join(map(str, old))} to {"x".join(map(str, new))} taps'
