"""The long convolution and the networks around it written down plainly, as a baseline for speed and memory.

Every forward runs the filter network, pads to ``max(2 * h, k)`` on each axis, transforms map and kernel, multiplies
and crops, all in float32 and left to autograd. Shell and mixers are those of the papers, one elementary operation a
step, in the order and the memory layouts of the published code, which decide about speed as much as the sums do: 2-D
projections and filter networks are 1 x 1 convolutions with channels first, the norm between gate and long convolution
leaves channels last in memory for the transforms, and norms beside downsampling are elementary operations. What it
keeps for the backward equals what the published code keeps. The modules borrow the parameters of the network they are
made from, so both compute the same function of the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.backbones import HyenaFormer
from mmhyena.layers import (
    Attention,
    BidirectionalHyena,
    HyenaPixel,
    ImplicitFilter,
    LongConv,
    RadialWindow,
    SepConv,
)

__all__ = ['FormulaHyenaFormer', 'FormulaLongConv', 'as_official_formula', 'formula_long_conv']


def formula_long_conv(u: Tensor, k: Tensor, skip: Tensor | None, causal: bool = False) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)`` by padded transforms, center crop, plus skip."""
    dtype, spatial = u.dtype, u.shape[2:]
    if dtype != torch.float64:
        u, k = u.float(), k.float()
    if causal:
        k = k[(slice(None), *(slice(size) for size in spatial))]
    kernel = k.shape[1:]
    lengths = [max(2 * size, taps) for size, taps in zip(spatial, kernel)]
    axes = tuple(range(-len(spatial), 0))
    spectrum = torch.fft.rfftn(k, s=lengths, dim=axes) / prod(lengths)
    y = torch.fft.irfftn(torch.fft.rfftn(u, s=lengths, dim=axes) * spectrum, s=lengths, dim=axes, norm='forward')
    starts = [0 if causal else taps // 2 for taps in kernel]
    y = y[(..., *(slice(start, start + size) for start, size in zip(starts, spatial)))]
    if skip is not None:
        y = y + skip.view(-1, *(1,) * len(spatial)) * u
    return y.to(dtype)


def _implicit_kernel_2d(source: LongConv) -> Tensor:
    """Return HyenaPixel's kernel ``(C, k, k)``: 1 x 1 convolutions, channels first, sines between, then the window."""
    code = source.filter.position.table.permute(2, 0, 1)[None]  # (1, E, k, k)
    for layer in source.filter.mlp:
        if hasattr(layer, 'weight'):
            code = F.conv2d(code, layer.weight[:, :, None, None], layer.bias)
        else:
            code = torch.sin(layer.frequency.view(-1, 1, 1) * code)
    window = source.window
    decay = torch.exp(-window.distance * window.delta.abs().view(-1, 1, 1))
    return (code * (decay + window.shift.view(-1, 1, 1)))[0]


class FormulaLongConv(nn.Module):
    """The long convolution of ``source``, whose parameters it takes over; makes its kernel anew in every forward."""

    def __init__(self, source: LongConv) -> None:
        super().__init__()
        self.source = source
        types = type(source.filter), type(source.window), len(source.kernel_size)
        self.is_hyena_pixel = types == (ImplicitFilter, RadialWindow, 2) and not source.filter_resize
        if self.is_hyena_pixel:  # channels first in memory, as published; the shape stays
            table = source.filter.position.table
            table.data = table.data.permute(2, 0, 1).contiguous().permute(1, 2, 0)

    def kernel(self, spatial: Sequence[int]) -> None:
        """Prepare nothing: the formula makes its kernel in the forward."""

    def forward(self, u: Tensor, kernel: None = None) -> Tensor:
        """Convolve ``u`` ``(B, C, *spatial)``."""
        with torch.autocast(u.device.type, enabled=False):
            k = _implicit_kernel_2d(self.source) if self.is_hyena_pixel else self.source.kernel(u.shape[2:])
            return formula_long_conv(u, k, self.source.skip, self.source.causal)


def _norm_channels(norm: nn.Module, x: Tensor) -> Tensor:
    """Norm ``(B, C, *spatial)`` over C; the result is a view of a tensor with channels last."""
    return norm(x.movedim(1, -1)).movedim(-1, 1)


class _HyenaPixel(nn.Module):
    def __init__(self, source: HyenaPixel) -> None:
        super().__init__()
        self.source = source
        self.long_conv = FormulaLongConv(source.long_conv)

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` ``(B, H, W, C)``."""
        source, proj = self.source, self.source.out_proj
        x = x.permute(0, 3, 1, 2).contiguous()
        x = F.conv2d(x, source.in_proj.weight[:, :, None, None], source.in_proj.bias)
        q, k, v = nn.Conv2d.forward(source.short_conv, x).chunk(3, dim=1)  # (B, C, H, W)
        y = v * self.long_conv(_norm_channels(source.gate_norm, q * k))
        if isinstance(source.out_norm, nn.Identity):
            return F.conv2d(y, proj.weight[:, :, None, None], proj.bias).permute(0, 2, 3, 1).contiguous()
        return proj(source.out_norm(y.permute(0, 2, 3, 1).contiguous()))


class _BidirectionalHyena(nn.Module):
    def __init__(self, source: BidirectionalHyena) -> None:
        super().__init__()
        self.source = source
        self.long_conv = FormulaLongConv(source.long_conv)

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` ``(B, H, W, C)``."""
        source = self.source
        qkv = source.in_proj(x.flatten(1, 2)).transpose(1, 2)  # (B, 3C, L)
        x0, x1, v = nn.Conv1d.forward(source.short_conv, qkv).chunk(3, dim=1)
        y = x0 * self.long_conv(_norm_channels(source.gate_norm, v * x1))
        return source.out_proj(source.out_norm(y.transpose(1, 2))).view(x.shape)


class _SepConv(nn.Module):
    def __init__(self, source: SepConv) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        source = self.source
        x = _star_relu(source.act, source.in_proj(x)).permute(0, 3, 1, 2)
        return source.out_proj(nn.Conv2d.forward(source.conv, x).permute(0, 2, 3, 1))


class _Attention(nn.Module):
    def __init__(self, source: Attention) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        source = self.source
        qkv = source.qkv(x.flatten(1, -2)).unflatten(-1, (3, -1, source.head_dim))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * source.head_dim**-0.5).softmax(dim=-1)
        return source.proj((weights @ v).transpose(1, 2).flatten(2)).view(x.shape)


def _star_relu(act: nn.Module, x: Tensor) -> Tensor:
    return act.scale * F.relu(x) ** 2 + act.bias


_MIXERS = {HyenaPixel: _HyenaPixel, BidirectionalHyena: _BidirectionalHyena, SepConv: _SepConv, Attention: _Attention}


class _Block(nn.Module):
    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.token_mixer = _MIXERS[type(source.token_mixer)](source.token_mixer)

    def _scale(self, scale: nn.Module, x: Tensor) -> Tensor:
        return x * scale.scale if hasattr(scale, 'scale') else x

    def forward(self, x: Tensor) -> Tensor:
        source, mlp = self.source, self.source.mlp
        x = self._scale(source.res_scale1, x) + source.drop_path1(self.token_mixer(source.norm1(x)))
        hidden = _star_relu(mlp.act, mlp.fc1(source.norm2(x)))
        return self._scale(source.res_scale2, x) + source.drop_path2(mlp.fc2(hidden))


def _elementary_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    variance = centered.pow(2).mean(-1, keepdim=True)
    return centered / torch.sqrt(variance + norm.eps) * norm.weight


class FormulaHyenaFormer(nn.Module):
    """The features of ``source`` computed plainly; parameters are shared with it."""

    def __init__(self, source: HyenaFormer) -> None:
        super().__init__()
        self.source = source
        self.stages = nn.ModuleList(nn.ModuleList(_Block(block) for block in stage) for stage in source.stages)
        for layer in source.downsample_layers:
            layer.conv.to(memory_format=torch.contiguous_format)

    def _downsample(self, layer: nn.Module, x: Tensor, image: bool) -> Tensor:
        if layer.norm_first:
            x = _elementary_norm(layer.norm, x)
        x = layer.conv(x if image else x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x if layer.norm_first else _elementary_norm(layer.norm, x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what ``source`` returns for ``x`` ``(B, C, H, W)``."""
        outs, source = [], self.source
        for i, (layer, stage) in enumerate(zip(source.downsample_layers, self.stages)):
            x = self._downsample(layer, x, image=i == 0)
            for block in stage:
                x = block(x)
            if i in source.out_indices:
                norm = getattr(source, f'norm{i}')
                pooled = source.gap_before_final_norm
                outs.append(norm(x.mean((1, 2))) if pooled else norm(x).permute(0, 3, 1, 2).contiguous())
        return tuple(outs)


def as_official_formula(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` in which every HyenaFormer, and every LongConv elsewhere, is the plain formula."""
    return _replace(copy.deepcopy(model))


def _replace(module: nn.Module) -> nn.Module:
    if isinstance(module, HyenaFormer):
        return FormulaHyenaFormer(module)
    if isinstance(module, LongConv):
        return FormulaLongConv(module)
    for name, child in module.named_children():
        setattr(module, name, _replace(child))
    return module
