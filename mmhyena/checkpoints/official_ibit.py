"""Names of the official IBiT attention layer, translated to :class:`mmhyena.layers.LearnedMaskAttention`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ['convert_official_ibit_layer']

_RENAMED = {
    'mask1': 'mask_rows',
    'mask2': 'mask_columns',
    'final_linear.weight': 'proj.weight',
    'final_linear.bias': 'proj.bias',
}
# The official layer projects the keys first; ours stacks queries, keys and values in this order.
_STACKED = {
    'qkv.weight': ('Linears.1.weight', 'Linears.0.weight', 'Linears.2.weight'),
    'qkv.bias': ('Linears.1.bias', 'Linears.0.bias', 'Linears.2.bias'),
}


def convert_official_ibit_layer(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the state dict of one official attention layer.

    Published weights were trained with the layer's ``roll='official'``.

    Args:
        state_dict: Official names and tensors of one layer, without a prefix.

    Raises:
        ValueError: If keys are missing or unknown, with the list of them.
    """
    expected = {*_RENAMED, *(name for names in _STACKED.values() for name in names)}
    if missing := expected - set(state_dict):
        raise ValueError(f'the IBiT layer lacks {", ".join(sorted(missing))}')
    if unknown := set(state_dict) - expected:
        raise ValueError(f'the IBiT layer has keys without a counterpart: {", ".join(sorted(unknown))}')
    converted = {ours: state_dict[official] for official, ours in _RENAMED.items()}
    return converted | {ours: torch.cat([state_dict[n] for n in names]) for ours, names in _STACKED.items()}
