"""The ViT shell around a token mixer: patches, positions, block, channel MLP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from mmhyena.registry import MODELS

__all__ = ['PatchEmbed', 'ViTBlock', 'resample_grid', 'sincos_grid', 'sincos_sequence']


class PatchEmbed(nn.Module):
    """Project patches that do not overlap; the right and lower edges are padded with zeros to whole patches.

    Args:
        in_channels: Channels of the image.
        embed_dims: Channels C of a patch.
        patch_size: Pixels of a patch on both axes.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, ceil(H / patch), ceil(W / patch), C)``."""
        height, width = (-size % self.patch_size for size in x.shape[2:])
        if height or width:
            x = F.pad(x, (0, width, 0, height))
        return self.proj(x).permute(0, 2, 3, 1)


def resample_grid(table: Tensor, size: Sequence[int]) -> Tensor:
    """Resample a table of positions ``(1, h, w, C)`` to ``(1, *size, C)``, bicubically as ViT does."""
    if tuple(table.shape[1:3]) == tuple(size):
        return table
    resampled = table.permute(0, 3, 1, 2)  # (1, C, h, w)
    if table.dtype in (torch.float16, torch.bfloat16):
        resampled = resampled.float()
    resampled = F.interpolate(resampled, size=tuple(size), mode='bicubic', align_corners=False)
    return resampled.permute(0, 2, 3, 1).to(table.dtype)


def sincos_grid(size: Sequence[int], dim: int, device: torch.device | str | None = None) -> Tensor:
    """Return the fixed sine-cosine positional encoding ``(1, h, w, dim)`` of a grid in float32, half of it per axis.

    Frequencies are ``10000 ** (-i / n)`` (Attention is all you need, arXiv 1706.03762, section 3.5), so a position
    keeps its encoding when the grid grows. It is computed on ``device``, without a copy from the host.

    Raises:
        ValueError: If ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f'the sine-cosine positional encoding needs embed_dims to be a multiple of 4, got {dim}')
    bands = torch.arange(dim // 4, device=device, dtype=torch.float32)
    frequency = torch.exp(-math.log(10000.0) / (dim // 4) * bands)
    height, width = size
    rows, columns = (torch.arange(n, device=device)[:, None] * frequency for n in size)  # (n, dim / 4)
    rows = torch.cat([rows.sin(), rows.cos()], dim=-1)[:, None].expand(-1, width, -1)
    columns = torch.cat([columns.sin(), columns.cos()], dim=-1)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1)[None]  # (1, h, w, dim)


def sincos_sequence(length: int, dim: int) -> Tensor:
    """Return the fixed positional encoding ``(length, dim)`` of a sequence, ``[sin(p f), cos(p f)]`` for token ``p``.

    The ``dim / 2`` frequencies fall from 1 to ``exp(-ceil(ln length))``, as in the IBiT code (arXiv 2509.22719), so
    every encoding depends on the length of the sequence.

    Raises:
        ValueError: If ``dim`` is odd.
    """
    if dim % 2:
        raise ValueError(f'the 1-D sine-cosine positional encoding needs an even embed_dims, got {dim}')
    frequency = torch.exp(-torch.linspace(0, math.ceil(math.log(length)), dim // 2))
    angle = torch.arange(float(length))[:, None] * frequency  # (length, dim / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class ViTBlock(nn.Module):
    """Token mixer and channel MLP with GELU, each behind a norm and beside a residual (ViT, arXiv 2010.11929).

    Args:
        channels: Number of channels C.
        token_mixer: Config of the mixer, built with ``channels``.
        mlp_ratio: Width of the hidden layer in multiples of C.
        drop_rate: Dropout behind the mixer and the MLP.
        drop_path_rate: Probability with which a sample skips a branch in training.
        residual_from_norm: Whether the residual is the normalized input, ``mixer(LN x) + LN x``, as in IBiT
            (arXiv 2509.22719), instead of the input.
        with_cp: Whether activations are computed again in the backward instead of kept; the mixer's kernel is not.
        norm_eps: Epsilon of both norms.
        drop_path_mlp: Whether stochastic depth applies to the MLP as well as to the token mixer.
    """

    def __init__(
        self,
        channels: int,
        token_mixer: dict,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        residual_from_norm: bool = False,
        with_cp: bool = False,
        norm_eps: float = 1e-6,
        drop_path_mlp: bool = True,
    ) -> None:
        super().__init__()
        self.residual_from_norm = residual_from_norm
        self.with_cp = with_cp
        hidden = int(mlp_ratio * channels)
        if hidden < 1:
            raise ValueError(f'mlp_ratio must leave at least one of {channels} channels, got {mlp_ratio}')
        self.norm1 = nn.LayerNorm(channels, eps=norm_eps)
        self.token_mixer = MODELS.build(dict(token_mixer, channels=channels))
        self.norm2 = nn.LayerNorm(channels, eps=norm_eps)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.drop = nn.Dropout(drop_rate)
        self.drop_path = StochasticDepth(drop_path_rate, 'row') if drop_path_rate else nn.Identity()
        self.drop_path_mlp = drop_path_mlp

    def forward(self, x: Tensor, spatial: Sequence[int] | None = None) -> Tensor:
        """Map ``x`` ``(B, H, W, C)``, or ``(B, 1 + H * W, C)`` with a class token, to the same shape.

        Args:
            x: The tokens.
            spatial: Patches on each axis, ``(H, W)``; a map without class token tells them itself.
        """
        if spatial is None:
            spatial = x.shape[1:-1]
        has_class_token = x.dim() != len(spatial) + 2
        if self.with_cp and torch.is_grad_enabled():
            prepared = self.token_mixer.prepare(spatial)
            return checkpoint(self._forward, x, prepared, use_reentrant=False)
        # Without a class token the mixer sees the grid itself and may take a cached kernel.
        return self._forward(x, self.token_mixer.prepare(spatial) if has_class_token else None)

    def _forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        normed = self.norm1(x)
        mixed = self.token_mixer(normed, prepared)
        x = (normed if self.residual_from_norm else x) + self.drop_path(self.drop(mixed))
        normed = self.norm2(x)
        hidden = self.drop(self.mlp(normed))
        if self.drop_path_mlp:
            hidden = self.drop_path(hidden)
        return (normed if self.residual_from_norm else x) + hidden
