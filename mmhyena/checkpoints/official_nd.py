"""Weights and arguments of the official Hyena N-D operator, translated to :class:`mmhyena.layers.HyenaND`.

The official convolution is ``1 / (2 * l_max)`` times the plain one, its skip is not scaled, and one frequency vector
is stored under the name of every sine. Whole models: :mod:`mmhyena.checkpoints.official_nd_model`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmhyena.errors import CheckpointError
from mmhyena.layers.nd_directions import all_flips

__all__ = ['convert_official_nd', 'official_nd_config']

_WINDOWS = {'standard': 'standard', 'learn': 'learned', 'symettric': 'symmetric', 'no': 'none'}
_DIRECTIONS: dict[str, dict[str, Any]] = {
    'standard': dict(type='CausalDirection'),
    'seq': dict(type='AlternatingDirection'),
    '4dir': dict(type='FourWayDirection', mix='direction'),
    '4dirp': dict(type='FourWayDirection', mix='channel'),
    'parallel': dict(type='ParallelDirection', official=True),
}
# Flipped axes of the official four ways, in the order of its mixing weights.
_OFFICIAL_FLIPS = [(), (0, 1), (1,), (0,)]
_MIX_ORDER = [_OFFICIAL_FLIPS.index(axes) for axes in all_flips(2)]
# What only training reads.
_TRAINING_ONLY = {'filter_dropout', 'lr', 'lr_pos_emb', 'modulation_lr', 'w', 'wd'}


def _window_config(args: dict[str, Any], joint: bool) -> dict | str:
    mode, sqrt = args.pop('window_mode', 'standard'), args.pop('sqrt_decay', False) and joint
    shift = args.pop('shift', 0.0)
    if mode not in _WINDOWS:
        raise CheckpointError(f'window_mode {mode!r} is unknown; choose one of {", ".join(_WINDOWS)}')
    if mode == 'no':
        return 'none'
    if mode == 'symettric':
        if not joint:
            raise CheckpointError("the official product filter has no window_mode 'symettric'")
        return dict(type='SymmetricWindow', sqrt=sqrt)
    return dict(type='ExponentialWindow', learnable=mode == 'learn', shift=shift, sqrt=sqrt)


def official_nd_config(**kwargs: Any) -> dict:
    """Return the config of our mixer for the arguments of the official ``HyenaOperator2d``.

    The weights that :func:`convert_official_nd` translates fit the mixer built from it. What matters in training
    alone, such as learning rates, is dropped.

    Raises:
        CheckpointError: If an argument is not known.
    """
    args = {name: value for name, value in kwargs.items() if name not in _TRAINING_ONLY}
    channels, map_size = args.pop('d_model'), args.pop('l_max')
    direct, joint = args.pop('direct_paramtrization', False), args.pop('hyena2d_filter', False)
    direction = args.pop('directional_mode', 'standard')
    if direction not in _DIRECTIONS:
        raise CheckpointError(f'directional_mode {direction!r} is unknown; choose one of {", ".join(_DIRECTIONS)}')
    window = _window_config(args, joint)
    position = dict(type='AxialPosition', dim=args.pop('emb_dim', 3))
    filter = dict(
        type='JointFilter' if joint else 'ProductFilter',
        width=args.pop('filter_order', 64),
        depth=args.pop('num_inner_mlps', 2) + 2,
        position=position,
    )
    config = dict(
        type='mmhyena.HyenaND',
        channels=channels,
        map_size=map_size,
        order=args.pop('order', 2),
        filter='direct' if direct else filter,
        window='none' if direct else window,
        direction=dict(_DIRECTIONS[direction]),
        dropout=args.pop('dropout', 0.0),
    )
    if args:
        raise CheckpointError(f'official arguments without a counterpart: {", ".join(sorted(args))}')
    return config


def _convert_filter(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate and remove the tensors of an implicit filter, its window and its skip."""
    table = state.pop('filter_fn.pos_emb.z')[0]  # (l_max, emb_dim)
    t, l_max = state.pop('filter_fn.pos_emb.t').flatten(), len(table)
    if not torch.allclose(t, torch.linspace(0, 1, l_max, dtype=t.dtype, device=t.device), atol=1e-6):
        raise CheckpointError('filter_fn.pos_emb.t is not the normalized position 0 to 1 that windows are made of')
    ours = {'long_conv.skip': state.pop('filter_fn.bias'), 'long_conv.filter.position.table': table}
    joint = 'filter_fn.implicit_filter.0.weight' in state
    networks = {'': 'mlp'} if joint else {'X': 'mlps.0', 'Y': 'mlps.1'}
    factor = (1 / (2 * l_max)) ** (1 / len(networks))
    for axis, network in networks.items():
        pattern = re.compile(rf'filter_fn\.{axis}implicit_filter\.(\d+)\.(weight|bias|freq)')
        names = sorted((int(match[1]), match[2], name) for name in list(state) if (match := pattern.fullmatch(name)))
        last = names[-1][0]
        for index, kind, name in names:
            value = state.pop(name)
            if kind == 'freq':
                # One module under many names: the last one loaded holds, that is X after Y and then by index.
                if axis != 'Y':
                    ours['long_conv.filter.sine.frequency'] = value.flatten()
            else:
                target = f'long_conv.filter.{network}.layers.{index // 2}.{kind}'
                ours[target] = value * factor if index == last else value
    return ours | _convert_window(state, joint)


def _convert_window(state: dict[str, Tensor], joint: bool) -> dict[str, Tensor]:
    prefixes = [f'filter_fn.{axis}modulation.' for axis in ([''] if joint else 'XY')]
    ours = {}
    for name, officials in (
        ('delta', [f'{prefix}{axis}deltas' for prefix in prefixes for axis in (['X', 'Y'] if joint else [''])]),
        ('delta', ['filter_fn.modulation.deltas'] if joint else []),
        ('shift', [f'{prefix}shift' for prefix in prefixes]),
    ):
        if officials and officials[0] in state:
            values = [state.pop(official).flatten() for official in officials]
            ours[f'long_conv.window.{name}'] = torch.stack(values) if len(values) > 1 else values[0]
    return ours


def _convert_direct(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate and remove a direct kernel; the official code has one more than it uses."""
    kernel, skip = state.pop('filter')[:-1], state.pop('bias')[:-1]  # (order - 1, C, l_max, l_max)
    return {
        'long_conv.filter.kernel': kernel.flatten(0, 1) / (2 * kernel.shape[-1]),
        'long_conv.skip': skip.flatten(),
    }


def _convert_mix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate and remove the mixture of four ways, from (channel, way) to (way, channel) and to our order of ways."""
    weight, bias = state.pop('linear_mix.weight'), state.pop('linear_mix.bias')
    ours = weight.unflatten(1, (-1, 4))[..., _MIX_ORDER].movedim(-1, 1)  # (C or 1, 4, C or 1)
    if weight.shape == (1, 4):
        ours, bias = ours.flatten(), bias.squeeze(0)
    return {'long_conv.direction.weight': ours.flatten(1) if ours.dim() > 1 else ours, 'long_conv.direction.bias': bias}


def convert_official_nd(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the weights of an official ``HyenaOperator2d`` for the mixer of :func:`official_nd_config`.

    The factor ``1 / (2 * l_max)`` goes into the last layer of the filter, or into the direct kernel.

    Args:
        state_dict: Official names and tensors of one operator.

    Raises:
        CheckpointError: If names are missing or not known, with the list of them.
    """
    state = dict(state_dict)
    ours = {}
    try:
        for name in ('in_proj', 'out_proj', 'short_filter'):
            for kind in ('weight', 'bias'):
                ours[f'{name.replace("short_filter", "short_conv")}.{kind}'] = state.pop(f'{name}.{kind}')
        ours |= _convert_direct(state) if 'filter' in state else _convert_filter(state)
        if 'linear_mix.weight' in state:
            ours |= _convert_mix(state)
    except KeyError as error:
        raise CheckpointError(f'official Hyena N-D weights lack {error.args[0]}') from None
    if state:
        raise CheckpointError(f'{len(state)} keys of the operator have no counterpart: {", ".join(sorted(state))}')
    return ours
