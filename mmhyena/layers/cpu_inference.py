"""Fused evaluation of MetaFormer blocks on a CPU, as an explicit pass over a model.

A MetaFormer block spends half of its time on elementwise operations and on memory for wide intermediate results. The
fused block computes the same function in two operators, norm, mixer and residual, and norm, MLP and residual, whose
products run on oneDNN, and it processes large feature maps in tiles. It reads the parameters of its parts, so it may
only take the place of blocks whose parts all are what their constructors made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from mmhyena.errors import UserError
from mmhyena.layers.depthwise import DepthwiseConv1d, DepthwiseConv2d, keeps_size
from mmhyena.layers.fusible import why_not_fusible
from mmhyena.layers.hyena import BidirectionalHyena, GatedMixer, HyenaPixel
from mmhyena.layers.long_conv import LongConv
from mmhyena.layers.metaformer import MetaFormerBlock, Mlp, Scale
from mmhyena.ops import (
    add_residual,
    autocast_dtype,
    is_inference,
    linear,
    map_tiles,
    needs_tiles,
    norm_mlp_residual,
    row_tiles,
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
        report.fused.append(name)
    return report


class FusedMetaFormerBlock(MetaFormerBlock):
    """A MetaFormer block in evaluation, as two operators instead of a dozen modules.

    Made by :func:`fuse_blocks` alone. Parameters are read in every forward, so weights loaded later take effect. With
    gradients, under autocast, on another device than the CPU, while a graph is recorded and as soon as a part was
    replaced or has hooks, the block runs its modules as :class:`MetaFormerBlock` does.
    """

    def train(self, mode: bool = True) -> FusedMetaFormerBlock:
        """Stay in evaluation mode.

        Raises:
            UserError: If ``mode`` is True.
        """
        if mode:
            raise UserError('this model is fused for inference and cannot be trained; build it again without fusing it')
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to ``x`` ``(B, *spatial, C)``; same shape out."""
        is_served = x.device.type == 'cpu' and is_inference() and autocast_dtype(x) is None
        if not is_served or _why_parts_not_fusible(self):
            return super().forward(x)
        x = _mix(self, x).contiguous()
        norm, mlp = self.norm2, self.mlp
        return norm_mlp_residual(
            x,
            (norm.weight, norm.bias),
            norm.eps,
            mlp.fc1.weight,
            mlp.fc2.weight,
            mlp.act.scale,
            mlp.act.bias,
            res_scale=_factor(self.res_scale2),
            out=x,
        )


def _mix(block: MetaFormerBlock, x: Tensor) -> Tensor:
    """Return the sum of the first branch and the scaled ``x`` ``(B, *spatial, C)`` in a new tensor."""
    norm, mixer, scale = block.norm1, block.token_mixer, _factor(block.res_scale1)
    if isinstance(mixer, GatedMixer) and _why_mixer_not_fusible(norm, mixer) is None:
        flat = mixer.flatten(x)  # (B, *axes, C)
        if needs_tiles(flat, mixer.in_proj.out_features):
            return _gated_mix_in_tiles(norm, mixer, flat, scale).view_as(x)
        wide = linear(norm(flat), mixer.in_proj.weight, mixer.in_proj.bias).movedim(-1, 1)  # (B, 3C, *axes)
        product, gate = mixer.split_gate(mixer.short_conv(wide).movedim(1, -1))
        mixed = mixer.long_conv(mixer.gate_norm(product).movedim(-1, 1)).movedim(1, -1)
        branch = linear(mixer.out_norm(gate * mixed), mixer.out_proj.weight, mixer.out_proj.bias).view_as(x)
    else:
        branch = mixer(norm(x))
    return add_residual(branch, x, scale)


def _gated_mix_in_tiles(norm: nn.Module, mixer: GatedMixer, x: Tensor, scale: Tensor | None) -> Tensor:
    """Return ``scale * x + mixer(norm(x))`` for ``x`` ``(B, *axes, C)``; only the long convolution sees all rows."""
    project, conv = mixer.in_proj, mixer.short_conv

    def gates(wide: Tensor) -> tuple[Tensor, Tensor]:
        product, gate = mixer.split_gate(unpadded_depthwise_conv(wide, conv.weight, conv.bias))
        return mixer.gate_norm(product), gate

    product, gate = map_tiles(
        x,
        lambda rows: linear(norm(rows), project.weight, project.bias),
        gates,
        width=project.out_features,
        reach=conv.kernel_size[0] // 2,
    )
    mixed = mixer.long_conv(product.movedim(-1, 1)).movedim(1, -1)
    for out, here, rows in row_tiles(gate, mixed, x):  # the result takes the place of the gate
        branch = linear(mixer.out_norm(out * here), mixer.out_proj.weight, mixer.out_proj.bias)
        add_residual(branch, rows, scale, out=out)
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
