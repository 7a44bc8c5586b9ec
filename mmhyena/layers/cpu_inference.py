"""Fused evaluation of MetaFormer blocks on a CPU, as an explicit pass over a model.

A MetaFormer block spends half of its time on elementwise operations and on memory for wide intermediate results. The
fused block computes the same function in two operators, norm, mixer and residual, and norm, MLP and residual, whose
products run on oneDNN, and it processes large feature maps in tiles. It reads the parameters of its parts, so it may
only take the place of blocks whose parts all are what their constructors made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from mmhyena.errors import UserError
from mmhyena.layers.depthwise import DepthwiseConv1d, DepthwiseConv2d, keeps_size
from mmhyena.layers.fusible import why_not_fusible
from mmhyena.layers.hyena import BidirectionalHyena, GatedMixer, HyenaPixel
from mmhyena.layers.kernel_cache import KernelCache
from mmhyena.layers.long_conv import LongConv
from mmhyena.layers.metaformer import MetaFormerBlock, Mlp, Scale
from mmhyena.ops import (
    add_residual,
    autocast_dtype,
    depthwise_conv_channels_last,
    fold_star_relu,
    is_inference,
    linear,
    map_tiles,
    needs_tiles,
    no_autocast,
    norm_mlp_residual,
    pack_weight,
    row_tiles,
    store_by_columns_,
    unpadded_depthwise_conv,
)

__all__ = ['FusedMetaFormerBlock', 'FusionReport', 'fuse_blocks']


@dataclass
class FusionReport:
    """What :func:`fuse_blocks` did.

    Attributes:
        fused: Names of the fused blocks.
        left: Names of the blocks that run as before, and why.
    """

    fused: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return one line for the log."""
        total = len(self.fused) + len(self.left)
        line = f'{len(self.fused)} of {total} MetaFormer blocks are fused for inference on a CPU'
        left = '; '.join(f'{name or "the model"}: {reason}' for name, reason in self.left.items())
        return f'{line}; not fused: {left}' if left else line


def fuse_blocks(model: nn.Module) -> FusionReport:
    """Put ``model`` into evaluation mode and fuse its MetaFormer blocks in place, see :class:`FusedMetaFormerBlock`."""
    model.eval()
    report = FusionReport()
    for name, module in model.named_modules():
        if not isinstance(module, MetaFormerBlock):
            continue
        if type(module) is not FusedMetaFormerBlock:
            reason = why_not_fusible(module, MetaFormerBlock) or _why_parts_not_fusible(module)
            if reason:
                report.left[name] = reason
                continue
            # As torch's parametrizations and FSDP do: references to the block and its state-dict keys stay valid.
            module.__class__ = FusedMetaFormerBlock
            cast(FusedMetaFormerBlock, module)._rounded = KernelCache()
            for weight in _weights_of(module).of_linear_layers():
                store_by_columns_(weight)
        report.fused.append(name)
    return report


class FusedMetaFormerBlock(MetaFormerBlock):
    """A MetaFormer block in evaluation, as two operators instead of a dozen modules.

    Made by :func:`fuse_blocks` alone. Parameters are read in every forward, so weights loaded later take effect. With
    gradients, on another device than the CPU, while a graph is recorded and as soon as a part was replaced or has
    hooks, the block runs its modules as :class:`MetaFormerBlock` does.

    Under bfloat16 autocast linear layers and short convolutions are computed in bfloat16, from weights that are rounded
    once per version; all else, the residual path included, is computed in float32, and so is the result.
    """

    _rounded: KernelCache

    def train(self, mode: bool = True) -> FusedMetaFormerBlock:
        """Stay in evaluation mode.

        Raises:
            UserError: If ``mode`` is True.
        """
        if mode:
            raise UserError('this model is fused for inference and cannot be trained; build it again without fusing it')
        self._rounded.clear()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to ``x`` ``(B, *spatial, C)``; same shape out."""
        if x.device.type != 'cpu' or not is_inference() or _why_parts_not_fusible(self):
            return super().forward(x)
        weights = _weights_of(self)
        if (dtype := autocast_dtype(x)) is not None:
            is_single = all(tensor.dtype == torch.float32 for tensor in weights.tensors())
            if dtype != torch.bfloat16 or x.dtype not in (torch.float32, dtype) or not is_single:
                return super().forward(x)
            weights = self._rounded.get(dtype, weights.tensors(), partial(weights.rounded, dtype))
        return _forward(self, x if dtype is None else x.float(), weights)


class _MixerWeights(NamedTuple):
    """Linear layers and short convolution of a gated mixer; names are those of its parts."""

    in_proj: tuple[Tensor, Tensor | None]
    short_conv: tuple[Tensor, Tensor | None]
    out_proj: tuple[Tensor, Tensor | None]


class _MlpWeights(NamedTuple):
    """Arguments of :func:`mmhyena.ops.norm_mlp_residual`."""

    fc1: Tensor
    fc2: Tensor
    scale: Tensor | None
    bias: Tensor


class _Weights(NamedTuple):
    """What a block computes its products with; no mixer if that is called."""

    mixer: _MixerWeights | None
    mlp: _MlpWeights

    def tensors(self) -> list[Tensor]:
        """Return all of them."""
        mixer = () if self.mixer is None else chain(*self.mixer)
        return [tensor for tensor in (*mixer, *self.mlp) if tensor is not None]

    def of_linear_layers(self) -> list[Tensor]:
        """Return the weights ``(C_out, C_in)`` of the linear layers."""
        mixer = [] if self.mixer is None else [self.mixer.in_proj[0], self.mixer.out_proj[0]]
        return [*mixer, self.mlp.fc1, self.mlp.fc2]

    def rounded(self, dtype: torch.dtype) -> _Weights:
        """Return the weights in half precision, each rounded once, those of linear layers as products read them."""

        def half(pair: tuple[Tensor, Tensor | None], is_linear: bool) -> tuple[Tensor, Tensor | None]:
            weight, bias = pair
            weight = weight.to(dtype)
            return pack_weight(weight) if is_linear else weight, None if bias is None else bias.to(dtype)

        fc1, fc2, scale, bias = self.mlp
        if scale is not None:
            fc2, bias = fold_star_relu(fc2, scale, bias)
        mixer = None if self.mixer is None else _MixerWeights(*map(half, self.mixer, (True, False, True)))
        mlp = _MlpWeights(pack_weight(fc1.to(dtype)), pack_weight(fc2.to(dtype)), None, bias.to(dtype))
        return _Weights(mixer, mlp)


def _weights_of(block: MetaFormerBlock) -> _Weights:
    mixer, mlp, weights = block.token_mixer, block.mlp, None
    if isinstance(mixer, GatedMixer) and _why_mixer_not_fusible(block.norm1, mixer) is None:
        parts = mixer.in_proj, mixer.short_conv, mixer.out_proj
        weights = _MixerWeights(*((part.weight, part.bias) for part in parts))
    return _Weights(weights, _MlpWeights(mlp.fc1.weight, mlp.fc2.weight, mlp.act.scale, mlp.act.bias))


def _forward(block: MetaFormerBlock, x: Tensor, weights: _Weights) -> Tensor:
    """Return the output of a block for ``x`` ``(B, *spatial, C)`` in the type of ``x``."""
    norm, mixer, scale = block.norm1, block.token_mixer, _factor(block.res_scale1)
    if weights.mixer is None:
        y = add_residual(mixer(norm(x)), x, scale)
    else:
        with no_autocast(x.device):
            y = _gated_mix(norm, mixer, mixer.flatten(x), weights.mixer, scale).view_as(x)
    y, norm = y.contiguous(), block.norm2
    return norm_mlp_residual(
        y, (norm.weight, norm.bias), norm.eps, *weights.mlp, res_scale=_factor(block.res_scale2), out=y
    )


def _gated_mix(norm: nn.Module, mixer: GatedMixer, x: Tensor, weights: _MixerWeights, scale: Tensor | None) -> Tensor:
    """Return ``scale * x + mixer(norm(x))`` for ``x`` ``(B, *axes, C)``, in tiles if that becomes wide.

    Only the long convolution has to see all rows. Gates and norms are computed in the type of ``x``.
    """
    dtype = weights.in_proj[0].dtype

    def widen(rows: Tensor) -> Tensor:
        return linear(norm(rows).to(dtype), *weights.in_proj)

    def gates(wide: Tensor, conv: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        a, b, gate = mixer.split(conv(wide, *weights.short_conv).to(x.dtype))
        return mixer.gate_norm(a * b), gate

    def project(gated: Tensor) -> Tensor:
        return linear(mixer.out_norm(gated).to(dtype), *weights.out_proj)

    width = mixer.in_proj.out_features
    if not needs_tiles(x, width):
        product, gate = gates(widen(x), depthwise_conv_channels_last)
        mixed = mixer.long_conv(product.movedim(-1, 1)).movedim(1, -1)
        return add_residual(project(gate * mixed), x, scale)
    reach = mixer.short_conv.kernel_size[0] // 2
    product, gate = map_tiles(x, widen, partial(gates, conv=unpadded_depthwise_conv), width, reach)
    mixed = mixer.long_conv(product.movedim(-1, 1)).movedim(1, -1)
    for out, here, rows in row_tiles(gate, mixed, x):  # the result takes the place of the gate
        add_residual(project(out * here), rows, scale, out=out)
    return gate


def _factor(scale: nn.Module) -> Tensor | None:
    return scale.scale if type(scale) is Scale else None


def _why_parts_not_fusible(block: MetaFormerBlock) -> str | None:
    """Return why the fused forward would not compute what the parts of ``block`` say, or None if it would.

    ``norm1`` and ``token_mixer`` do not matter: unless both are recognized they are called.
    """
    parts: dict[str, Any] = block._modules
    for name in ('res_scale1', 'res_scale2', 'drop_path1', 'drop_path2'):
        part = parts[name]
        if reason := why_not_fusible(part, nn.Identity, Scale if name.startswith('res') else StochasticDepth):
            return f'{name}: {reason}'
        if type(part) is StochasticDepth and part.training:
            return f'{name}: it is in training mode'
    if reason := _why_norm_not_fusible(parts['norm2']):
        return f'norm2: {reason}'
    if reason := why_not_fusible(parts['mlp'], Mlp):
        return f'mlp: {reason}'
    if reason := parts['mlp'].why_not_fusible():
        return f'mlp.{reason}'
    return None


def _why_norm_not_fusible(norm: Any) -> str | None:
    if reason := why_not_fusible(norm, nn.LayerNorm):
        return reason
    return None if len(norm.normalized_shape) == 1 else 'it normalizes more than the channels'


def _why_mixer_not_fusible(norm: nn.Module, mixer: GatedMixer) -> str | None:
    """Return why a norm and the mixer after it have to be called, or None if their parts may be used one by one."""
    if reason := _why_norm_not_fusible(norm) or why_not_fusible(mixer, HyenaPixel, BidirectionalHyena):
        return reason
    parts: dict[str, Any] = mixer._modules
    for name in ('in_proj', 'out_proj'):
        if reason := why_not_fusible(parts[name], nn.Linear):
            return f'{name}: {reason}'
    if reason := why_not_fusible(parts['long_conv'], LongConv):  # its output is gated outside, which a hook would see
        return f'long_conv: {reason}'
    for name in ('gate_norm', 'out_norm'):
        if reason := why_not_fusible(parts[name], nn.Identity, nn.LayerNorm):
            return f'{name}: {reason}'
    if reason := why_not_fusible(parts['short_conv'], DepthwiseConv1d, DepthwiseConv2d):
        return f'short_conv: {reason}'
    return None if keeps_size(parts['short_conv']) else 'short_conv: its geometry was changed'
