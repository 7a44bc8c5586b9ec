"""Hyena N-D's filters of a checkpoint, resampled to the map sizes of the model that loads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from torch import Tensor

from mmhyena.layers.filters.resample import resample

__all__ = ['resize_nd_filters']

_KERNEL = '.filter.kernel'
_TABLE = '.filter.position.table'


def resize_nd_filters(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Resample joint, product and direct filters where the model is made for another ``map_size``.

    The kernel becomes the one that ``filter_resize`` gives at run time on maps of that size. One table serves all
    axes, so a checkpoint does not tell the proportions of its maps; they are taken to be the model's.

    Args:
        state: Tensors of the checkpoint under our names.
        shapes: Shape of every tensor of the model.

    Returns:
        Only the tensors that change, and the names of the resampled ones with a note on the sizes.
    """
    changed, notes = {}, {}
    for name, value in state.items():
        old, new = tuple(value.shape), tuple(shapes.get(name, value.shape))
        if old == new or len(old) != len(new):
            continue
        if name.endswith(_KERNEL) and old[0] == new[0]:
            ratios = _ratios(old[1:], new[1:])
            changed[name] = resample(value, new[1:]) * prod(ratios)
            changed |= _stretch_symmetric(state, name.removesuffix(_KERNEL), min(ratios))
            notes[name] = f'{"x".join(map(str, old[1:]))} to {"x".join(map(str, new[1:]))} taps'
        elif name.endswith(_TABLE) and (layers := _last_layers(state, prefix := name.removesuffix(_TABLE))):
            (ratio,) = _ratios(old[:1], new[:1])
            changed[name] = resample(value.T, new[:1]).T.contiguous()
            notes[name] = f'{old[0]} to {new[0]} taps an axis'
            for layer, axes in layers.items():
                changed[layer] = state[layer] * ratio**axes
            changed |= _stretch_symmetric(state, prefix, ratio)
    return changed, notes


def _ratios(old: tuple[int, ...], new: tuple[int, ...]) -> list[float]:
    return [max(o - 1, 1) / max(n - 1, 1) for o, n in zip(old, new)]


def _stretch_symmetric(state: Mapping[str, Tensor], prefix: str, ratio: float) -> dict[str, Tensor]:
    """Return the rates of a symmetric window, whose distances count taps; other windows have a rate for every axis."""
    name = f'{prefix}.window.delta'
    return {name: state[name] * ratio} if name in state and state[name].dim() == 1 else {}


def _last_layers(state: Mapping[str, Tensor], prefix: str) -> dict[str, int]:
    """Return the last weight of each network of a joint or product filter, with the number of axes it serves."""
    pattern = re.compile(re.escape(prefix) + r'\.filter\.(mlps?(?:\.\d+)?)\.layers\.(\d+)\.weight')
    networks: dict[str, int] = {}
    for name in state:
        if match := pattern.fullmatch(name):
            networks[match[1]] = max(networks.get(match[1], 0), int(match[2]))
    dim = state[prefix + _TABLE].shape[-1]
    return {
        f'{prefix}.filter.{network}.layers.{last}.weight': (
            state[f'{prefix}.filter.{network}.layers.0.weight'].shape[1] // dim
        )
        for network, last in networks.items()
    }
