"""Softmax attention over all pixels, for the stages where a published model has it."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.registry import MODELS

__all__ = ['Attention']


@MODELS.register_module()
class Attention(TokenMixer):
    """Multi-head self-attention over all pixels, without positional encoding (MetaFormer baselines, arXiv 2210.13452).

    Args:
        channels: Number of channels C, a multiple of ``head_dim``.
        head_dim: Channels per head.
        qkv_bias: Whether queries, keys and values have a bias.
        proj_bias: Whether the output projection has a bias.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    accepts_class_token = True

    def __init__(self, channels: int, head_dim: int = 32, qkv_bias: bool = False, proj_bias: bool = False) -> None:
        super().__init__()
        if channels % head_dim:
            raise ValueError(f'Attention needs channels to be a multiple of head_dim, got {channels} and {head_dim}')
        self.head_dim = head_dim
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels, bias=proj_bias)

    def forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``."""
        qkv = self.qkv(x.flatten(1, -2)).unflatten(-1, (3, -1, self.head_dim))  # (B, L, 3, heads, head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, L, head_dim)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).flatten(2)).view_as(x)
