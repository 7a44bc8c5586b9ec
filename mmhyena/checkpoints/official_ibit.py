"""Names and layouts of official IBiT classifiers (arXiv 2509.22719), translated to ours.

The official patch embedding is a linear layer on unfolded patches, which is the weight of a convolution with its last
three axes flattened. Its attention projects keys, queries and values, in this order, by three layers; ours stacks
queries, keys and values in one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from math import isqrt, prod
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmhyena.checkpoints.official_blocks import convert_token_mixers
from mmhyena.errors import CheckpointError
from mmhyena.layers.learned_mask_attention import LearnedMaskAttention, roll_index

__all__ = [
    'convert_official_ibit',
    'convert_official_ibit_layer',
    'is_official_ibit',
    'official_ibit_config',
    'warn_of_roll',
]

_RENAMED = {
    'mask1': 'mask_rows',
    'mask2': 'mask_columns',
    'final_linear.weight': 'proj.weight',
    'final_linear.bias': 'proj.bias',
}
_STACKED = {
    'qkv.weight': ('Linears.1.weight', 'Linears.0.weight', 'Linears.2.weight'),
    'qkv.bias': ('Linears.1.bias', 'Linears.0.bias', 'Linears.2.bias'),
}
_SHELL = {'scale_up.1.bias': 'backbone.patch_embed.proj.bias'}
_SHELL |= {f'fcn.0.{kind}': f'head.fc.{kind}' for kind in ('weight', 'bias')}
_BLOCK = re.compile(r'CiTBlocks\.(\d+)\.(.+)')
_BLOCK_PARTS = {
    f'{official}.{kind}': f'{ours}.{kind}'
    for official, ours in {'BNorm1': 'norm1', 'BNorm2': 'norm2', 'MLP.0': 'mlp.0', 'MLP.3': 'mlp.2'}.items()
    for kind in ('weight', 'bias')
}
_PATCHES, _CLASS_TOKEN, _MASK = 'scale_up.1.weight', 'embedding', 'CiTBlocks.0.attention.mask1'
_ROLL_BUFFER = 'roll_back'
_ROLLS = ('official', 'aligned')


def is_official_ibit(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of an official IBiT classifier."""
    return _PATCHES in state_dict and _MASK in state_dict


def convert_official_ibit_layer(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate one official attention layer for :class:`~mmhyena.layers.LearnedMaskAttention`.

    Published weights were trained with the layer's ``roll='official'``. The buffer ``roll_back`` is dropped: ours is
    computed.

    Args:
        state_dict: Official names and tensors of one layer, without a prefix.

    Raises:
        CheckpointError: If keys are missing or unknown, with the list of them.
    """
    expected = {*_RENAMED, *(name for names in _STACKED.values() for name in names)}
    if missing := expected - set(state_dict):
        raise CheckpointError(f'the IBiT layer lacks {", ".join(sorted(missing))}')
    if unknown := set(state_dict) - expected - {_ROLL_BUFFER}:
        raise CheckpointError(f'the IBiT layer has keys without a counterpart: {", ".join(sorted(unknown))}')
    converted = {ours: state_dict[official] for official, ours in _RENAMED.items()}
    return converted | {ours: torch.cat([state_dict[n] for n in names]) for ours, names in _STACKED.items()}


def convert_official_ibit(state_dict: Mapping[str, Tensor], in_channels: int = 3) -> dict[str, Tensor]:
    """Translate an official IBiT classifier to the names of an mmpretrain ``ImageClassifier`` with ours.

    Args:
        state_dict: Official names and tensors, with or without the ``roll_back`` buffers.
        in_channels: Channels of the images.

    Raises:
        CheckpointError: If keys are missing or unknown, with the list of them.
    """
    result: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for name, value in state_dict.items():
        block = _BLOCK.fullmatch(name)
        if name == _PATCHES:
            result['backbone.patch_embed.proj.weight'] = value.unflatten(1, _patch_shape(value, in_channels))
        elif name == _CLASS_TOKEN:
            result['backbone.cls_token'] = value.view(1, 1, -1)
        elif name in _SHELL:
            result[_SHELL[name]] = value
        elif block and block[2] in _BLOCK_PARTS:
            result[f'backbone.layers.{block[1]}.{_BLOCK_PARTS[block[2]]}'] = value
        elif block and block[2].startswith('attention.'):
            attention.setdefault(block[1], {})[block[2].removeprefix('attention.')] = value
        else:
            unknown.append(name)
    return result | convert_token_mixers(attention, convert_official_ibit_layer, unknown, 'IBiT')


def official_ibit_config(
    state_dict: Mapping[str, Tensor],
    roll: str | None = None,
    img_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
) -> dict[str, Any]:
    """Return the config of our backbone for an official IBiT classifier.

    Args:
        state_dict: Official names and tensors.
        roll: ``'official'``, the published roll, or ``'aligned'``, the one that the paper describes, whatever the file
            has. None takes the roll of the ``roll_back`` buffers, and ``'official'`` where the file has none.
        img_size: Image size in pixels, an integer or ``(H, W)``. None takes square images; the tensors tell the number
            of patches alone.
        in_channels: Channels of the images.

    Raises:
        CheckpointError: If the tensors contradict each other or an argument.
    """
    patch_size = _patch_shape(state_dict[_PATCHES], in_channels)[-1]
    heads, rank, tokens = state_dict[_MASK].shape
    channels = len(state_dict[_PATCHES])
    blocks = {int(match[1]) for name in state_dict if (match := _BLOCK.fullmatch(name))}
    grid = _grid(tokens - 1, patch_size, img_size)
    sizes = dict(embed_dims=channels, num_layers=max(blocks) + 1, num_heads=heads)
    is_tiny = sizes == dict(embed_dims=192, num_layers=12, num_heads=3)
    config: dict[str, Any] = dict(type='mmhyena.HyenaViT', arch='ibit_tiny' if is_tiny else sizes)
    config |= dict(img_size=_pixels(grid, patch_size), patch_size=patch_size, in_channels=in_channels)
    config['attention'] = dict(type='LearnedMaskAttention', rank=rank, roll=_roll(state_dict, grid, roll))
    if not is_tiny:
        config |= dict(token_mixers='attention', with_cls_token=True, position='sincos_1d')
        config |= dict(residual_from_norm=True, final_norm=False, norm_eps=1e-5)
    hidden = state_dict.get('CiTBlocks.0.MLP.0.weight')
    if hidden is not None and len(hidden) != 4 * channels:
        config['mlp_ratio'] = len(hidden) / channels
    return config


def warn_of_roll(state_dict: Mapping[str, Tensor], backbone: nn.Module) -> None:
    """Warn if the masks of a backbone are rolled otherwise than those of the file, so that other logits come out."""
    layer = next((module for module in backbone.modules() if isinstance(module, LearnedMaskAttention)), None)
    if layer is None or len(layer.map_size) != 2:
        return
    buffer = next((value for name, value in state_dict.items() if name.endswith(f'.attention.{_ROLL_BUFFER}')), None)
    own = roll_index(layer.map_size, roll=layer.roll)
    is_published = layer.roll == 'official' if buffer is None else torch.equal(buffer.cpu(), own)
    if not is_published:
        print_log(
            f'the model rolls its masks by roll={layer.roll!r}, the IBiT checkpoint was trained with another roll: '
            "the published accuracy needs backbone.attention.roll='official'",
            logger='current',
            level=logging.WARNING,
        )


def _patch_shape(weight: Tensor, in_channels: int) -> tuple[int, int, int]:
    """Return channels, rows and columns of the patches that a linear layer reads."""
    pixels = weight.shape[1] // in_channels
    size = isqrt(pixels)
    if in_channels * size**2 != weight.shape[1]:
        raise CheckpointError(
            f'{_PATCHES} has {weight.shape[1]} inputs, which are no square patches of {in_channels} channels; '
            'give the in_channels of the checkpoint'
        )
    return in_channels, size, size


def _grid(patches: int, patch_size: int, img_size: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the patches on each axis."""
    if img_size is None:
        side = isqrt(patches)
        if side**2 != patches:
            raise CheckpointError(f'the masks are for {patches} patches, which are no square; give img_size=(H, W)')
        return (side, side)
    pixels = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    grid = tuple(size // patch_size for size in pixels)
    if prod(grid) != patches:
        raise CheckpointError(
            f'img_size {img_size} has {prod(grid)} patches of {patch_size} pixels, the masks are for {patches} patches'
        )
    return grid


def _pixels(grid: Sequence[int], patch_size: int) -> int | tuple[int, ...]:
    pixels = tuple(size * patch_size for size in grid)
    return pixels[0] if len(set(pixels)) == 1 else pixels


def _roll(state_dict: Mapping[str, Tensor], grid: Sequence[int], roll: str | None) -> str:
    """Return the roll that is asked for, else the one of the file, else the published one."""
    if roll not in (None, *_ROLLS):
        raise CheckpointError(f'roll must be one of {", ".join(_ROLLS)}, got {roll!r}')
    buffers = [value.cpu() for name, value in state_dict.items() if name.endswith(f'.attention.{_ROLL_BUFFER}')]
    # The official code cannot roll maps that are higher than wide.
    known = _ROLLS if grid[0] <= grid[1] else ('aligned',)
    found = next((r for r in known if all(torch.equal(b, roll_index(grid, roll=r)) for b in buffers)), None)
    chosen = roll or found
    if chosen is None:
        raise CheckpointError(
            f'the {_ROLL_BUFFER} buffers are neither the official nor the aligned roll of {grid[0]} x {grid[1]} '
            "patches; give img_size=(H, W) if the images are not square, or roll='official' or 'aligned'"
        )
    return chosen
