"""Names and layouts of whole official Hyena N-D classifiers (DeiT, arXiv 2309.13600), translated to ours.

The tensors tell almost everything: blocks of Hyena and of attention, filters, windows, order, sizes. The rest is an
argument of the official command line, whose names are kept: ``directional_mode`` where it is ``'standard'`` or
``'seq'``, and ``hyena2d_sqrt_decay``.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from mmhyena.checkpoints.official_blocks import convert_token_mixers
from mmhyena.checkpoints.official_nd import convert_official_nd, official_nd_config
from mmhyena.errors import CheckpointError

__all__ = ['convert_official_nd_model', 'is_official_nd', 'official_nd_model_config']

_BLOCK = re.compile(r'blocks\.(\d+)\.(.+)')
_BLOCK_PARTS = {
    f'{official}.{kind}': f'{ours}.{kind}'
    for official, ours in {
        'norm1': 'norm1',
        'norm2': 'norm2',
        'mlp.fc1': 'mlp.0',
        'mlp.fc2': 'mlp.2',
        'attn.qkv': 'token_mixer.qkv',
        'attn.proj': 'token_mixer.proj',
    }.items()
    for kind in ('weight', 'bias')
}
_SHELL = {
    f'{official}.{kind}': f'{ours}.{kind}'
    for official, ours in {
        'patch_embed.proj': 'backbone.patch_embed.proj',
        'norm': 'backbone.norm',
        'head': 'head.fc',
    }.items()
    for kind in ('weight', 'bias')
}
_OPERATOR = 'attn.'
_HYENA_TENSOR = 'attn.short_filter.weight'
_ARCHS = {
    'deit_tiny': dict(embed_dims=192, num_layers=12, num_heads=3),
    'deit_small': dict(embed_dims=384, num_layers=12, num_heads=6),
    'deit_base': dict(embed_dims=768, num_layers=12, num_heads=12),
}
_HEAD_DIM = 64  # of every DeiT
# Our names of the official methods.
_SCHEDULES = {
    'hyena2d': 'hyena',
    'hyena2dattn': 'hyena_first',
    'attnhyena2d': 'attention_first',
    'onebyone': 'alternating',
}
_CHOSEN = ('directional_mode', 'hyena2d_sqrt_decay')


def is_official_nd(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of an official Hyena N-D classifier, one Hyena block at least."""
    return any(name.startswith('blocks.') and name.endswith(f'.{_HYENA_TENSOR}') for name in state_dict)


def convert_official_nd_model(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate an official Hyena N-D classifier to the names of an mmpretrain ``ImageClassifier`` with ours.

    The factor of the official convolution goes into the filters, see :func:`convert_official_nd`.

    Args:
        state_dict: Official names and tensors.

    Raises:
        CheckpointError: If keys are missing or unknown, with the list of them.
    """
    result: dict[str, Tensor] = {}
    operators: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for name, value in state_dict.items():
        block = _BLOCK.fullmatch(name)
        if name == 'pos_embed':
            side = _side(value)
            result['backbone.pos_embed'] = value.unflatten(1, (side, side))
        elif name in _SHELL:
            result[_SHELL[name]] = value
        elif block and block[2] in _BLOCK_PARTS:
            result[f'backbone.layers.{block[1]}.{_BLOCK_PARTS[block[2]]}'] = value
        elif block and block[2].startswith(_OPERATOR):
            operators.setdefault(block[1], {})[block[2].removeprefix(_OPERATOR)] = value
        else:
            unknown.append(name)
    return result | convert_token_mixers(operators, convert_official_nd, unknown, 'Hyena N-D')


def official_nd_model_config(
    state_dict: Mapping[str, Tensor], args: Mapping[str, Any] | argparse.Namespace | None = None
) -> dict[str, Any]:
    """Return the config of our backbone for an official Hyena N-D classifier.

    Args:
        state_dict: Official names and tensors.
        args: Arguments of the official command line by name, or the ``Namespace`` that official checkpoints hold, of
            which everything about training is ignored. What the tensors tell need not be given; what is given has to
            agree with them. Without ``directional_mode`` and ``hyena2d_sqrt_decay`` the official defaults are taken
            (``'standard'``, False), with a warning where the tensors do not exclude the alternatives. ``num_heads``,
            which is no official argument, is for other widths than DeiT's.

    Raises:
        CheckpointError: If an argument is unknown or contradicts the tensors, or the tensors contradict each other.
    """
    depth = 1 + max(int(match[1]) for name in state_dict if (match := _BLOCK.fullmatch(name)))
    is_hyena = [f'blocks.{i}.{_HYENA_TENSOR}' in state_dict for i in range(depth)]
    facts = _facts(state_dict, is_hyena.index(True))
    given = _given(args, {*facts, *_CHOSEN, 'method', 'num_heads'})
    facts['method'] = _method(is_hyena, given.get('method'))
    chosen = _choose(facts, given)
    _check_given(given, facts)

    side, patch_size = _side(_tensor(state_dict, 'pos_embed')), facts['patch_size']
    config: dict[str, Any] = dict(type='mmhyena.HyenaViT', arch=_arch(state_dict, depth, is_hyena, given))
    config |= dict(img_size=side * patch_size, patch_size=patch_size, out_type='first_token')
    in_channels = _tensor(state_dict, 'patch_embed.proj.weight').shape[1]
    if in_channels != 3:
        config['in_channels'] = in_channels
    channels, hidden = _tensor(state_dict, 'blocks.0.mlp.fc1.weight').shape[::-1]
    if hidden != 4 * channels:
        config['mlp_ratio'] = hidden / channels

    hyena_blocks = [i for i, hyena in enumerate(is_hyena) if hyena]
    mixers = {i: _mixer(state_dict, i, chosen) for i in hyena_blocks}
    if any(mixer != mixers[hyena_blocks[0]] for mixer in mixers.values()):
        raise CheckpointError('the Hyena blocks of the file have different operators')
    # Our hosts number Hyena blocks among themselves, the official code numbers all blocks.
    if 'seq' in chosen.values() and hyena_blocks != list(range(len(hyena_blocks))):
        return config | dict(
            token_mixers=[dict(mixers[i], block_index=i) if i in mixers else 'attention' for i in range(depth)]
        )
    return config | dict(token_mixers=_SCHEDULES[facts['method']], hyena=mixers[hyena_blocks[0]])


def _tensor(state_dict: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state_dict:
        raise CheckpointError(f'the official Hyena N-D classifier lacks {name}')
    return state_dict[name]


def _side(table: Tensor) -> int:
    """Return the patches on each axis that the positions ``(1, N, C)`` are for."""
    side = isqrt(table.shape[1])
    if side**2 != table.shape[1]:
        raise CheckpointError(
            f'pos_embed has {table.shape[1]} positions, which are no square of patches; the official Hyena N-D has no '
            'class token'
        )
    return side


def _arch(
    state_dict: Mapping[str, Tensor], depth: int, is_hyena: list[bool], given: Mapping[str, Any]
) -> str | dict[str, int]:
    """Return the name of the DeiT of these sizes, or the sizes."""
    channels = _tensor(state_dict, 'pos_embed').shape[2]
    heads = given.get('num_heads') or channels // _HEAD_DIM
    if not all(is_hyena) and (heads < 1 or channels % heads or ('num_heads' not in given and channels % _HEAD_DIM)):
        raise CheckpointError(f'the tensors do not tell the heads of {channels} channels; give num_heads')
    sizes = dict(embed_dims=channels, num_layers=depth, num_heads=heads if heads and channels % heads == 0 else 1)
    return next((name for name, arch in _ARCHS.items() if arch == sizes), sizes)


def _facts(state_dict: Mapping[str, Tensor], index: int) -> dict[str, Any]:
    """Return the official arguments that the tensors of Hyena block ``index`` tell."""
    operator = _operator(state_dict, index)
    arguments = _operator_arguments(operator)
    facts = dict(
        use_cls_token=False,
        patch_size=_tensor(state_dict, 'patch_embed.proj.weight').shape[-1],
        hyena_order=arguments['order'],
        direct_paramtrization=arguments['direct_paramtrization'],
    )
    if not arguments['direct_paramtrization']:
        facts |= dict(hyena_filter_order=arguments['filter_order'], hyena2d_filter=arguments['hyena2d_filter'])
        facts |= dict(window_mode=arguments['window_mode'])
    else:  # they have no effect, whatever the command line said
        facts |= dict(hyena_filter_order=None, hyena2d_filter=None, window_mode=None)
    if 'directional_mode' in arguments:
        facts['directional_mode'] = arguments['directional_mode']
    return facts


def _given(args: Mapping[str, Any] | argparse.Namespace | None, known: set[str]) -> dict[str, Any]:
    """Return the arguments that matter, and refuse unknown ones unless they come from a whole command line."""
    if isinstance(args, argparse.Namespace):
        return {name: value for name, value in vars(args).items() if name in known}
    given = dict(args or {})
    if unknown := set(given) - known:
        raise CheckpointError(
            f'unknown arguments of the official Hyena N-D: {", ".join(sorted(unknown))}; choose from '
            f'{", ".join(sorted(known))}'
        )
    return given


def _method(is_hyena: list[bool], given: str | None) -> str:
    """Return the official method with these Hyena blocks, the given one if several have."""
    depth, half = len(is_hyena), len(is_hyena) // 2
    patterns = {
        'hyena2d': [True] * depth,
        'hyena2dattn': [i <= half for i in range(depth)],
        'attnhyena2d': [i > half for i in range(depth)],
        'onebyone': [i % 2 == 0 for i in range(depth)],
    }
    fitting = [name for name, pattern in patterns.items() if pattern == is_hyena]
    if not fitting:
        blocks = ', '.join(str(i) for i, hyena in enumerate(is_hyena) if hyena)
        raise CheckpointError(f'no official method has Hyena in the blocks {blocks} of {depth} alone')
    return given if given in fitting else fitting[0]


def _choose(facts: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tensors leave open: the direction, unless they tell it, and the square root of the window."""
    options: dict[str, tuple[Any, ...]] = {}
    if 'directional_mode' not in facts:
        options['directional_mode'] = ('standard', 'seq')
    if facts['window_mode'] in ('standard', 'learn', 'symettric') and facts['hyena2d_filter']:
        options['hyena2d_sqrt_decay'] = (False, True)
    chosen = {name: given.get(name, choices[0]) for name, choices in options.items()}
    for name, choices in options.items():
        if chosen[name] not in choices:
            raise CheckpointError(
                f'{name}={chosen[name]!r} contradicts the tensors; they leave {" or ".join(map(repr, choices))}'
            )
    if assumed := [f'{name}={value!r}' for name, value in chosen.items() if name not in given]:
        print_log(
            f'the tensors do not tell {", ".join(name for name in chosen if name not in given)}; taking the official '
            f'defaults {", ".join(assumed)}: give the arguments of the training if they were others',
            logger='current',
            level=logging.WARNING,
        )
    return chosen


def _check_given(given: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in facts and facts[name] is not None and value != facts[name]:
            raise CheckpointError(f'{name}={value!r} contradicts the tensors, which are those of {facts[name]!r}')


def _operator(state_dict: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    prefix = f'blocks.{index}.{_OPERATOR}'
    return {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}


def _operator_arguments(operator: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the official arguments of an operator as far as its tensors tell them."""
    if 'in_proj.weight' not in operator:
        raise CheckpointError('an official Hyena N-D block lacks attn.in_proj.weight')
    inner, channels = operator['in_proj.weight'].shape
    arguments: dict[str, Any] = dict(d_model=channels, order=inner // channels - 1)
    if len(operator['short_filter.weight']) == 4 * inner:
        arguments['directional_mode'] = 'parallel'
    elif 'linear_mix.weight' in operator:
        arguments['directional_mode'] = '4dir' if len(operator['linear_mix.weight']) == 1 else '4dirp'
    arguments['direct_paramtrization'] = 'filter' in operator
    if 'filter' in operator:
        return arguments | dict(l_max=operator['filter'].shape[-1])
    if 'filter_fn.pos_emb.z' not in operator:
        raise CheckpointError('an official Hyena N-D block lacks attn.filter_fn.pos_emb.z')
    _, l_max, emb_dim = operator['filter_fn.pos_emb.z'].shape
    arguments |= dict(l_max=l_max, emb_dim=emb_dim)
    joint = 'filter_fn.implicit_filter.0.weight' in operator
    network = 'filter_fn.implicit_filter.' if joint else 'filter_fn.Ximplicit_filter.'
    weights = [name for name in operator if name.startswith(network) and name.endswith('.weight')]
    if f'{network}0.weight' not in weights:
        raise CheckpointError(f'an official Hyena N-D block lacks attn.{network}0.weight')
    arguments |= dict(hyena2d_filter=joint, filter_order=len(operator[f'{network}0.weight']))
    return arguments | dict(num_inner_mlps=len(weights) - 2, window_mode=_window_mode(operator, joint))


def _window_mode(operator: Mapping[str, Tensor], joint: bool) -> str:
    prefix = 'filter_fn.modulation.' if joint else 'filter_fn.Xmodulation.'
    names = {name.removeprefix(prefix) for name in operator if name.startswith(prefix)}
    if not names:
        return 'no'
    if joint and 'deltas' in names:
        return 'symettric'
    return 'learn' if 'shift' in names else 'standard'


def _mixer(state_dict: Mapping[str, Tensor], index: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of Hyena block ``index``; the host adds channels and map size."""
    arguments = _operator_arguments(_operator(state_dict, index))
    # Blocks of 'seq' look both ways in turns, by their index.
    arguments.setdefault('directional_mode', chosen.get('directional_mode', 'standard'))
    if 'hyena2d_sqrt_decay' in chosen:
        arguments['sqrt_decay'] = chosen['hyena2d_sqrt_decay']
    config = official_nd_config(**arguments)
    return {name: value for name, value in config.items() if name not in ('channels', 'map_size', 'dropout')}
