"""What HyenaPixel and bidirectional Hyena have in common: gates around a long convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmhyena.layers.long_conv import LongConv
from mmhyena.layers.plain import dense, is_plain
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.ops import add_residual, map_bands, needs_bands, row_bands, split_gates, unpadded_depthwise_conv

__all__ = ['GatedMixer']


class GatedMixer(TokenMixer):
    """Base of the mixers ``out_proj(out_norm(gate * long_conv(gate_norm(a * b))))``.

    ``a``, ``b`` and ``gate`` are thirds of ``short_conv(in_proj(x))``. A subclass says which is which and over which
    axes the convolutions run.

    Args:
        channels: Number of channels C.
        short_conv: Depthwise convolution of 3C channels, of odd kernel.
        long_conv: The long convolution of C channels.
        norm: Whether both norms are there.

    Attributes:
        last_gate: Which third is ``gate``.
    """

    last_gate = 2

    def __init__(self, channels: int, short_conv: nn.Conv1d | nn.Conv2d, long_conv: LongConv, norm: bool) -> None:
        super().__init__()
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.short_conv = short_conv
        self.long_conv = long_conv
        self.gate_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_norm = nn.LayerNorm(channels, eps=1e-5, bias=False) if norm else nn.Identity()
        self.out_proj = nn.Linear(channels, channels)

    def _flatten(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(B, *spatial, C)`` with the axes that the convolutions run over."""
        raise NotImplementedError

    def _convolve(self, wide: Tensor) -> Tensor:
        """Return ``short_conv`` of a flattened map, channels last."""
        raise NotImplementedError

    def _gate(self, wide: Tensor) -> tuple[Tensor, Tensor]:
        product, gate = split_gates(wide, self.last_gate)  # (B, *flattened, C)
        return self.gate_norm(product), gate

    def prepare(self, spatial: Sequence[int]) -> Tensor:
        """Return the long kernel ``(C, *kernel)`` for maps of size ``spatial``."""
        return self.long_conv.kernel(self._flatten(torch.empty(1, *spatial, 1, device='meta')).shape[1:-1])

    def forward(self, x: Tensor, prepared: Tensor | None = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``, with the kernel of :meth:`prepare` if it was made before."""
        gated, gate = self._gate(self._convolve(dense(self.in_proj, self._flatten(x))))
        mixed = self.long_conv(gated.movedim(-1, 1), prepared)  # (B, C, *flattened)
        return dense(self.out_proj, self.out_norm(gate * mixed.movedim(1, -1))).view_as(x)

    def residual(self, x: Tensor, norm: nn.Module, scale: Tensor | None = None) -> Tensor:
        """Return ``scale * x + self(norm(x))``, in evaluation band by band if ``x`` is large."""
        if not self._takes_bands(x, norm):
            return super().residual(x, norm, scale)
        conv, flat = self.short_conv, self._flatten(x)
        gated, gate = map_bands(
            flat,
            lambda rows: dense(self.in_proj, norm(rows)),
            lambda band: self._gate(unpadded_depthwise_conv(band, conv.weight, conv.bias)),
            width=self.in_proj.out_features,
            reach=conv.kernel_size[0] // 2,
        )
        mixed = self.long_conv(gated.movedim(-1, 1)).movedim(1, -1)
        for out, here, rows in row_bands(gate, mixed, flat):
            add_residual(dense(self.out_proj, self.out_norm(out * here)), rows, scale, out=out)
        return gate.view_as(x)

    def _takes_bands(self, x: Tensor, norm: nn.Module) -> bool:
        """Whether ``x`` is large and nobody hooked into a part or put something else in its place."""
        parts = self.in_proj, self.gate_norm, self.out_norm, self.out_proj, norm
        return (
            needs_bands(x, self.in_proj.out_features)
            and type(self).forward is GatedMixer.forward
            and is_plain(self, type(self))
            and is_plain(self.short_conv, nn.Conv1d, nn.Conv2d)
            and all(is_plain(part, nn.Linear, nn.LayerNorm, nn.Identity) for part in parts)
        )
