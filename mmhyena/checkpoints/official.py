"""Names and layouts of the official HyenaPixel checkpoints, translated to ours and back bit for bit.

The official classifier has ``norm`` and ``head``; the official feature extractor has ``fnorm`` in their place. A token
mixer is recognised by the names of its tensors, and each kind has one table: official name, our name, layout.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from mmhyena.registry import MODELS

__all__ = ['convert_official', 'is_official', 'official_config', 'revert_official']


def _same(value: Tensor) -> Tensor:
    return value


class _Layout(NamedTuple):
    """Where the layouts differ: from the official tensor to ours, and back."""

    convert: Callable[[Tensor], Tensor] = _same
    revert: Callable[[Tensor], Tensor] = _same


class _Rule(NamedTuple):
    official: str
    ours: str
    layout: _Layout = _Layout()


_CHW_VECTOR = _Layout(lambda t: t.reshape(-1), lambda t: t.reshape(1, -1, 1, 1))
_ROW_VECTOR = _Layout(lambda t: t.reshape(-1), lambda t: t.reshape(1, -1))
_LC_VECTOR = _Layout(lambda t: t.reshape(-1), lambda t: t.reshape(1, 1, -1))
_POINTWISE = _Layout(lambda t: t.reshape(t.shape[:2]), lambda t: t[..., None, None])
_TABLE_2D = _Layout(lambda t: t[0].movedim(0, -1).contiguous(), lambda t: t.movedim(-1, 0)[None].contiguous())
_TABLE_1D = _Layout(lambda t: t[0], lambda t: t[None])
_TENT = _Layout(lambda t: t[0, :, 0], lambda t: t[None, :, None])
_DISTANCE = _Layout(lambda t: t[0, 0], lambda t: t[None, None])


def _sine_mlp(official: str, depth: int, weight: _Layout, frequency: _Layout) -> list[_Rule]:
    """Rules of a filter network: linear layers at even places, frequencies at odd ones, no bias in the last."""
    ours, last = 'long_conv.filter.mlp', 2 * (depth - 1)
    rules = [_Rule(f'{official}.{i}.weight', f'{ours}.{i}.weight', weight) for i in range(0, last + 1, 2)]
    rules += [_Rule(f'{official}.{i}.bias', f'{ours}.{i}.bias') for i in range(0, last, 2)]
    return rules + [_Rule(f'{official}.{i}.freq', f'{ours}.{i}.frequency', frequency) for i in range(1, last, 2)]


def _hyena_pixel(out_proj: _Layout) -> list[_Rule]:
    return [
        _Rule('pointwise_conv.weight', 'in_proj.weight', _POINTWISE),
        _Rule('pointwise_conv.bias', 'in_proj.bias'),
        _Rule('depthwise_conv.weight', 'short_conv.weight'),
        _Rule('depthwise_conv.bias', 'short_conv.bias'),
        _Rule('long_conv.z', 'long_conv.filter.position.table', _TABLE_2D),
        _Rule('long_conv.distance_map', 'long_conv.window.distance', _DISTANCE),
        _Rule('long_conv.deltas', 'long_conv.window.delta', _CHW_VECTOR),
        _Rule('long_conv.shift', 'long_conv.window.shift', _CHW_VECTOR),
        _Rule('long_conv.bias', 'long_conv.skip', _CHW_VECTOR),
        *_sine_mlp('long_conv.implicit_filter', 3, _POINTWISE, _CHW_VECTOR),
        _Rule('qk_norm.weight', 'gate_norm.weight'),
        _Rule('out_norm.weight', 'out_norm.weight'),
        _Rule('out_proj.weight', 'out_proj.weight', out_proj),
        _Rule('out_proj.bias', 'out_proj.bias'),
    ]


_BIDIRECTIONAL = [
    _Rule('in_proj.weight', 'in_proj.weight'),
    _Rule('in_proj.bias', 'in_proj.bias'),
    _Rule('short_filter.weight', 'short_conv.weight'),
    _Rule('short_filter.bias', 'short_conv.bias'),
    _Rule('filter_fn.bias', 'long_conv.skip'),
    _Rule('filter_fn.pos_emb.z', 'long_conv.filter.position.table', _TABLE_1D),
    _Rule('filter_fn.pos_emb.t', 'long_conv.window.distance', _TENT),
    _Rule('filter_fn.modulation.deltas', 'long_conv.window.delta', _LC_VECTOR),
    *_sine_mlp('filter_fn.implicit_filter', 4, _Layout(), _ROW_VECTOR),
    # A list with one norm per long convolution; published models have one long convolution per mixer.
    _Rule('qk_norm.0.weight', 'gate_norm.weight'),
    _Rule('out_norm.weight', 'out_norm.weight'),
    _Rule('out_proj.weight', 'out_proj.weight'),
    _Rule('out_proj.bias', 'out_proj.bias'),
]
_ATTENTION = [_Rule('qkv.weight', 'qkv.weight'), _Rule('proj.weight', 'proj.weight')]
_SEP_CONV = [
    _Rule('pwconv1.weight', 'in_proj.weight'),
    _Rule('act1.scale', 'act.scale'),
    _Rule('act1.bias', 'act.bias'),
    _Rule('dwconv.weight', 'conv.weight'),
    _Rule('pwconv2.weight', 'out_proj.weight'),
]
# The official output projection is a linear layer behind the norm and a 1 x 1 convolution without one.
_NORMED_PIXEL, _PLAIN_PIXEL = _hyena_pixel(_Layout()), _hyena_pixel(_POINTWISE)

_BLOCK = r'stages\.\d+\.\d+\.'
_MIXER_NAME = re.compile(rf'({_BLOCK}token_mixer\.)(.+)')
_SHELL_NAME = re.compile(rf'{_BLOCK}(norm[12]\.weight|res_scale[12]\.scale|mlp\.fc[12]\.weight|mlp\.act\.(scale|bias))')
_HEAD_NAME = re.compile(r'head\.(fc1|fc2|norm)\.(weight|bias)')


def _mixer_rules(names: set[str]) -> list[_Rule] | None:
    """Return the table of the mixer that has tensors of these names, official or ours, or None."""
    if 'qkv.weight' in names:
        return _ATTENTION
    if names & {'pwconv1.weight', 'conv.weight'}:
        return _SEP_CONV
    if names & {'filter_fn.bias'} or {'long_conv.skip', 'long_conv.window.shift'} & names == {'long_conv.skip'}:
        return _BIDIRECTIONAL
    if names & {'long_conv.z', 'long_conv.window.shift'}:
        return _NORMED_PIXEL if 'out_norm.weight' in names else _PLAIN_PIXEL
    return None


def _group_mixers(names: list[str]) -> dict[str, set[str]]:
    groups = defaultdict(set)
    for name in names:
        if match := _MIXER_NAME.fullmatch(name):
            groups[match[1]].add(match[2])
    return groups


def is_official(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of an official HyenaPixel or bidirectional Hyena checkpoint."""
    return 'downsample_layers.0.post_norm.weight' in state_dict


def _convert_shell_name(name: str) -> str | None:
    if match := re.fullmatch(r'(downsample_layers\.\d+)\.(conv|pre_norm|post_norm)\.(weight|bias)', name):
        return f'backbone.{match[1]}.{match[2].split("_")[-1]}.{match[3]}'
    if _SHELL_NAME.fullmatch(name):
        return f'backbone.{name}'
    if match := re.fullmatch(r'fnorm\.(\d+)\.(weight|bias)', name):
        return f'backbone.norm{match[1]}.{match[2]}'
    if match := re.fullmatch(r'norm\.(weight|bias)', name):
        return f'backbone.norm3.{match[1]}'
    return name if _HEAD_NAME.fullmatch(name) else None


def _revert_shell_name(name: str, classifier: bool) -> str | None:
    name, in_backbone = name.removeprefix('backbone.'), name.startswith('backbone.')
    if not in_backbone:
        return name if _HEAD_NAME.fullmatch(name) else None
    if match := re.fullmatch(r'downsample_layers\.(\d+)\.(conv|norm)\.(weight|bias)', name):
        place = {'conv': 'conv', 'norm': 'post_norm' if match[1] == '0' else 'pre_norm'}[match[2]]
        return f'downsample_layers.{match[1]}.{place}.{match[3]}'
    if match := re.fullmatch(r'norm(\d+)\.(weight|bias)', name):
        return f'norm.{match[2]}' if classifier else f'fnorm.{match[1]}.{match[2]}'
    return name if _SHELL_NAME.fullmatch(name) else None


def _translate(
    state_dict: Mapping[str, Tensor],
    prefixes: tuple[str, str],
    mixer_tables: dict[str, dict[str, tuple[str, Callable[[Tensor], Tensor]]]],
    shell_name: Callable[[str], str | None],
) -> dict[str, Tensor]:
    """Rename every tensor, from names with the first prefix to names with the second; all or nothing."""
    source_prefix, target_prefix = prefixes
    result, unknown = {}, []
    for name, value in state_dict.items():
        match = _MIXER_NAME.fullmatch(name.removeprefix(source_prefix))
        if match:
            suffix, layout = mixer_tables.get(match[1], {}).get(match[2], (None, _same))
            target = None if suffix is None else f'{target_prefix}{match[1]}{suffix}'
        else:
            target, layout = shell_name(name), _same
        if target is None or target in result:
            unknown.append(name)
        else:
            result[target] = layout(value)
    if unknown:
        raise ValueError(f'{len(unknown)} keys of the checkpoint have no counterpart: {", ".join(sorted(unknown))}')
    return result


def convert_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate an official state dict to the names of an mmpretrain ``ImageClassifier`` with our backbone and head.

    Classifier weights become ``backbone.*`` and ``head.*``. Weights of the official feature extractor become
    ``backbone.*`` with an output norm for each stage.

    Args:
        state_dict: Official names and tensors, without a wrapper such as ``module.``.

    Raises:
        ValueError: If some names are not known, with the list of them.
    """
    groups = _group_mixers(list(state_dict))
    tables = {
        prefix: {rule.official: (rule.ours, rule.layout.convert) for rule in _mixer_rules(names) or ()}
        for prefix, names in groups.items()
    }
    return _translate(state_dict, ('', 'backbone.'), tables, _convert_shell_name)


def revert_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate back what :func:`convert_official` gave; the tensors are the official ones bit for bit.

    Args:
        state_dict: Names and tensors of our classifier, or of a backbone under ``backbone.``.

    Raises:
        ValueError: If some names have no official counterpart, with the list of them.
    """
    classifier = any(name.startswith('head.') for name in state_dict)
    groups = _group_mixers([name.removeprefix('backbone.') for name in state_dict])
    tables = {
        prefix: {rule.ours: (rule.official, rule.layout.revert) for rule in _mixer_rules(names) or ()}
        for prefix, names in groups.items()
    }
    return _translate(state_dict, ('backbone.', ''), tables, lambda name: _revert_shell_name(name, classifier))


def official_config(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the config of our backbone for an official classifier: a named architecture, or the sizes of another.

    Args:
        state_dict: Official names and tensors of a classifier.

    Raises:
        KeyError: If a tensor that tells a size is missing.
        ValueError: If a stage has no block, or one of a mixer that is not known.
    """
    groups = _group_mixers(list(state_dict))
    depths, channels, mixers = [], [], []
    for stage in range(4):
        prefix = f'stages.{stage}.0.token_mixer.'
        if prefix not in groups:
            raise ValueError(f'the official state dict has no block in stage {stage}')
        depths.append(sum(group.startswith(f'stages.{stage}.') for group in groups))
        channels.append(len(state_dict[f'downsample_layers.{stage}.conv.weight']))
        mixers.append(_mixer_config({name: state_dict[prefix + name] for name in groups[prefix]}))
    arch = dict(depths=tuple(depths), channels=tuple(channels), token_mixers=mixers)
    named = MODELS.get('HyenaFormer').arch_settings
    config = dict(type='mmhyena.HyenaFormer', arch=next((name for name, known in named.items() if known == arch), arch))
    return config | dict(out_indices=(3,), gap_before_final_norm=True)


def _mixer_config(mixer: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the config of a mixer with these official tensors."""
    rules = _mixer_rules(set(mixer))
    if rules is _ATTENTION:
        return dict(type='Attention')
    if rules is _SEP_CONV:
        return dict(type='SepConv')
    norm = 'out_norm.weight' in mixer
    if rules is _BIDIRECTIONAL:
        _, taps, position_dim = mixer['filter_fn.pos_emb.z'].shape
        width = len(mixer['filter_fn.implicit_filter.0.weight'])
        return dict(type='BidirectionalHyena', l_max=(taps + 1) // 2, position_dim=position_dim, width=width, norm=norm)
    if rules is None:
        raise ValueError(f'no official token mixer has {", ".join(sorted(mixer)[:3])}, ...')
    _, position_dim, *kernel = mixer['long_conv.z'].shape
    kernel_size = kernel[0] if kernel[0] == kernel[1] else tuple(kernel)
    return dict(type='HyenaPixel', kernel_size=kernel_size, position_dim=position_dim, norm=norm)
