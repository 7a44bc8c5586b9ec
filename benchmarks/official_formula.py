"""The long convolution and the networks around it written down plainly, as a yardstick for speed and memory.

Every forward runs the filter network, pads to ``max(2 * h, k)`` on each axis, transforms map and kernel, multiplies and
crops, all in float32 and left to autograd. Shell and mixers are those of the papers, one elementary operation a step,
with channels first around the convolutions. The modules borrow the parameters of the network they are made from, so
both compute the same function of the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.backbones import HyenaFormer
from mmhyena.layers import Attention, BidirectionalHyena, HyenaPixel, LongConv, SepConv

__all__ = ['FormulaHyenaFormer', 'FormulaLongConv', 'as_official_formula', 'formula_long_conv']


def formula_long_conv(u: Tensor, k: Tensor, skip: Tensor | None, causal: bool = False) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)`` by padded transforms, centred crop, plus skip."""
    dtype, spatial = u.dtype, u.shape[2:]
    if dtype != torch.float64:
        u, k = u.float(), k.float()
    if causal:
        k = k[(slice(None), *(slice(size) for size in spatial))]
    kernel = k.shape[1:]
    lengths = [max(2 * size, taps) for size, taps in zip(spatial, kernel)]
    axes = tuple(range(-len(spatial), 0))
    product = torch.fft.rfftn(u, s=lengths, dim=axes) * torch.fft.rfftn(k, s=lengths, dim=axes)
    y = torch.fft.irfftn(product, s=lengths, dim=axes)
    starts = [0 if causal else taps // 2 for taps in kernel]
    y = y[(..., *(slice(start, start + size) for start, size in zip(starts, spatial)))]
    if skip is not None:
        y = y + skip.view(-1, *(1,) * len(spatial)) * u
    return y.to(dtype)


class FormulaLongConv(nn.Module):
    """The long convolution of ``source`` with its kernel made anew in every forward."""

    def __init__(self, source: LongConv) -> None:
        super().__init__()
        self.source = source

    def kernel(self, spatial: Sequence[int]) -> None:
        """Prepare nothing: the formula makes its kernel in the forward."""

    def forward(self, u: Tensor, kernel: None = None) -> Tensor:
        """Convolve ``u`` ``(B, C, *spatial)``."""
        with torch.autocast(u.device.type, enabled=False):
            k = self.source.kernel(u.shape[2:])
            return formula_long_conv(u, k, self.source.skip, self.source.causal)


class _Gated(nn.Module):
    """Both Hyena mixers: the names of the gates differ, the first of them is applied last in 1-D."""

    def __init__(self, source: HyenaPixel | BidirectionalHyena) -> None:
        super().__init__()
        self.source = source
        self.long_conv = FormulaLongConv(source.long_conv)
        self.flat = isinstance(source, BidirectionalHyena)

    def _norm(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x.movedim(1, -1)).movedim(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` ``(B, H, W, C)``."""
        source = self.source
        qkv = source.in_proj(x).movedim(-1, 1).contiguous()  # (B, 3C, H, W)
        if self.flat:
            qkv = qkv.flatten(2)
        a, b, c = source.short_conv(qkv).chunk(3, dim=1)
        first, last = (b * c, a) if self.flat else (a * b, c)
        mixed = self.long_conv(self._norm(source.gate_norm, first).contiguous())
        y = (last * mixed).movedim(1, -1)
        return source.out_proj(source.out_norm(y)).view(x.shape)


class _SepConv(nn.Module):
    def __init__(self, source: SepConv) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        source = self.source
        x = _star_relu(source.act, source.in_proj(x)).permute(0, 3, 1, 2)
        return source.out_proj(source.conv(x).permute(0, 2, 3, 1))


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


_MIXERS = {HyenaPixel: _Gated, BidirectionalHyena: _Gated, SepConv: _SepConv, Attention: _Attention}


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


class FormulaHyenaFormer(nn.Module):
    """The features of ``source`` computed plainly; parameters are shared with it."""

    def __init__(self, source: HyenaFormer) -> None:
        super().__init__()
        self.source = source
        self.stages = nn.ModuleList(nn.ModuleList(_Block(block) for block in stage) for stage in source.stages)

    def _downsample(self, layer: nn.Module, x: Tensor) -> Tensor:
        if layer.norm_first:
            x = layer.norm(x)
        x = F.conv2d(x.permute(0, 3, 1, 2), layer.conv.weight, layer.conv.bias, layer.conv.stride, layer.conv.padding)
        x = x.permute(0, 2, 3, 1)
        return x if layer.norm_first else layer.norm(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what ``source`` returns for ``x`` ``(B, C, H, W)``."""
        outs, source = [], self.source
        x = x.permute(0, 2, 3, 1)
        for i, (layer, stage) in enumerate(zip(source.downsample_layers, self.stages)):
            x = self._downsample(layer, x)
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
