"""The official count of multiply-accumulates, by which the published models are compared.

It is fvcore's count of the official forward pass plus ``prod(out) * log2(prod(out[2:]))`` for every FFT call. The pass
is not ours: FFTs have the length ``max(2 * size, kernel)``, the filter network runs in every forward, and three things
follow from how fvcore looks at it:

- layer norms count 5 for every element, but those beside the downsampling convolutions count nothing, being written in
  elementary operations;
- a 2-D convolution has three FFTs, of the map, of the kernel and back;
- a 1-D convolution has two, since the kernel's spectrum ``(C, L)`` has no axis after the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, prod
from typing import Any

from torch import nn

from mmhyena.backbones import HyenaFormer
from mmhyena.errors import UserError
from mmhyena.layers import Attention, BidirectionalHyena, HyenaPixel, LongConv, MetaFormerBlock, SepConv
from mmhyena.layers.filters.filters import FilterLinear

__all__ = ['official_macs']

_NORM = 5


def official_macs(backbone: HyenaFormer, size: Sequence[int], num_classes: int = 1000) -> float:
    """Return the official count for a classifier with ``backbone`` and the MetaFormer head, for one image.

    Args:
        backbone: The backbone, which may lie on the meta device.
        size: Height and width of the image.
        num_classes: Number of classes.

    Raises:
        UserError: If the backbone has a token mixer that no published model has, or the image is too small for the
            official 1-D convolution.
    """
    total = 0.0
    stages: Any = zip(backbone.downsample_layers, backbone.stages)
    for downsample, stage in stages:
        conv = downsample.conv
        size = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, conv.padding, conv.kernel_size, conv.stride)]
        total += conv.weight.numel() * prod(size)
        total += sum(_block_macs(block, size) for block in stage)
    channels = backbone.embed_dims[-1]
    hidden = 4 * channels
    return total + _NORM * channels + channels * hidden + _NORM * hidden + hidden * num_classes


def _block_macs(block: MetaFormerBlock, size: Sequence[int]) -> float:
    mixer: Any = block.token_mixer
    pixels = prod(size)
    if not isinstance(mixer, (HyenaPixel, BidirectionalHyena, SepConv, Attention)):
        raise UserError(f'the official count knows no {type(mixer).__name__}: count without --count official')
    total = pixels * sum(_macs_per_pixel(module) for module in (block.norm1, block.norm2, *block.mlp.modules()))
    return total + _mixer_macs(mixer, size)


def _mixer_macs(mixer: Any, size: Sequence[int]) -> float:
    pixels = prod(size)
    inside = set(mixer.long_conv.modules()) if hasattr(mixer, 'long_conv') else set()
    total: float = pixels * sum(_macs_per_pixel(module) for module in mixer.modules() if module not in inside)
    if isinstance(mixer, Attention):
        total += 2 * pixels**2 * mixer.qkv.in_features
    if inside:
        total += _long_conv_macs(mixer.long_conv, size)
    return total


def _macs_per_pixel(module: nn.Module) -> int:
    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
        return module.weight.numel()
    return _NORM * module.normalized_shape[0] if isinstance(module, nn.LayerNorm) else 0


def _long_conv_macs(long_conv: LongConv, size: Sequence[int]) -> float:
    kernel, channels = long_conv.kernel_size, len(long_conv.skip)
    layers = [module for module in long_conv.filter.modules() if isinstance(module, FilterLinear)]
    network = prod(kernel) * sum(layer.weight.numel() for layer in layers)
    if len(kernel) == 1:
        pixels = prod(size)
        if pixels < kernel[0] // 2:
            raise UserError(f'the official 1-D convolution needs {kernel[0] // 2} pixels, the map has {pixels}')
        return network + channels * (_fft([pixels + 1]) + _fft([2 * pixels]))
    lengths = [max(2 * n, k) for n, k in zip(size, kernel)]
    half = [*lengths[:-1], lengths[-1] // 2 + 1]
    return network + channels * (2 * _fft(half) + _fft(lengths))


def _fft(shape: Sequence[int]) -> float:
    return prod(shape) * log2(prod(shape))
