"""Long filters of a checkpoint, resampled to the kernel sizes of the model that loads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from torch import Tensor

from mmhyena.checkpoints.resizing_nd import resize_nd_filters
from mmhyena.layers.filters.resample import resample, resample_distance

__all__ = ['resize_filters']

_TABLE = '.filter.position.table'


def resize_filters(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Resample long filters where the model has other kernel sizes, Hyena N-D's as :mod:`.resizing_nd` says.

    Position code and window are stretched over the new taps. The window keeps its shape, from the centre to the edge:
    its distances stay in pixels of the old kernel (an edge 55 away remains 55 away), hence its rates stay valid. The
    last layer of the filter network takes the factor by which the taps became sparser or denser, so the kernel is the
    one that ``filter_resize`` gives at run time, and a sum over it keeps its value.

    Args:
        state: Tensors of the checkpoint under our names.
        shapes: Shape of every tensor of the model.

    Returns:
        The state dict with resampled filters (other tensors are shared), and the names that were resampled with a
        note on the sizes.
    """
    changed, notes = resize_nd_filters(state, shapes)
    result = dict(state) | changed
    for name in state:
        if not name.endswith(_TABLE) or name not in shapes:
            continue
        prefix, old, new = name.removesuffix(_TABLE), tuple(state[name].shape), tuple(shapes[name])
        last = _last_layer(state, prefix)
        if old == new or len(old) != len(new) or old[-1] != new[-1] or last is None:
            continue
        size = new[:-1]
        note = f'{"x".join(map(str, old[:-1]))} to {"x".join(map(str, size))} taps'
        result[name] = resample(state[name].movedim(-1, 0), size).movedim(0, -1).contiguous()
        notes[name] = note
        result[last] = state[last] * prod((o - 1) / (n - 1) for o, n in zip(old, size))
        distance = f'{prefix}.window.distance'
        if distance in state and tuple(state[distance].shape) == old[:-1]:
            result[distance] = resample_distance(state[distance], size)
            notes[distance] = note
    return result, notes


def _last_layer(state: Mapping[str, Tensor], prefix: str) -> str | None:
    """Return the name of the filter network's last weight, or None where the network is of another kind."""
    pattern = re.compile(re.escape(prefix) + r'\.filter\.mlp\.(\d+)\.weight')
    layers = [(int(match[1]), name) for name in state if (match := pattern.fullmatch(name))]
    return max(layers)[1] if layers else None
