"""The MetaFormer shell around a token mixer: block, channel MLP, residual scale, downsampling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from mmhyena.layers.activation import StarReLU
from mmhyena.layers.plain import is_plain
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.ops import autocast_dtype, norm_mlp_residual, records_nothing, star_relu_mlp
from mmhyena.registry import MODELS

__all__ = ['Downsample', 'MetaFormerBlock', 'Mlp', 'Scale']


class Scale(nn.Module):
    """Learnable factor a channel, 1 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., C)`` to the same shape."""
        return x * self.scale


class Mlp(nn.Module):
    """Channel MLP with StarReLU and without biases.

    Args:
        channels: Number of channels C.
        ratio: Width of the hidden layer in multiples of C.
    """

    def __init__(self, channels: int, ratio: float = 4) -> None:
        super().__init__()
        hidden = round(ratio * channels)
        self.fc1 = nn.Linear(channels, hidden, bias=False)
        self.act = StarReLU()
        self.fc2 = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., C)`` to the same shape."""
        if not self.is_plain():
            return self.fc2(self.act(self.fc1(x)))
        return star_relu_mlp(x, self.fc1.weight, self.fc2.weight, self.act.scale, self.act.bias)

    def is_plain(self) -> bool:
        """Whether the parts are as they were built, without hooks, and may be computed as one."""
        return is_plain(self.fc1, nn.Linear) and is_plain(self.act, StarReLU) and is_plain(self.fc2, nn.Linear)


class MetaFormerBlock(nn.Module):
    """Token mixer and channel MLP, each behind a norm and beside a residual (arXiv 2210.13452).

    Args:
        channels: Number of channels C.
        token_mixer: Config of the mixer, built with ``channels``.
        drop_path_rate: Probability with which a sample skips a branch in training.
        res_scale: Whether the residuals have a learnable scale.
        with_cp: Whether activations are computed again in the backward instead of kept; the mixer's kernel is not.
        mlp_ratio: Width of the MLP's hidden layer in multiples of C.
    """

    def __init__(
        self,
        channels: int,
        token_mixer: dict,
        drop_path_rate: float = 0.0,
        res_scale: bool = False,
        with_cp: bool = False,
        mlp_ratio: float = 4,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm1 = nn.LayerNorm(channels, eps=1e-6, bias=False)
        self.token_mixer = MODELS.build(dict(token_mixer, channels=channels))
        self.drop_path1 = StochasticDepth(drop_path_rate, 'row') if drop_path_rate else nn.Identity()
        self.res_scale1 = Scale(channels) if res_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(channels, eps=1e-6, bias=False)
        self.mlp = Mlp(channels, mlp_ratio)
        self.drop_path2 = StochasticDepth(drop_path_rate, 'row') if drop_path_rate else nn.Identity()
        self.res_scale2 = Scale(channels) if res_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` to the same shape."""
        if self.with_cp and torch.is_grad_enabled():
            prepared = self.token_mixer.prepare(x.shape[1:-1])
            return checkpoint(self._forward, x, prepared, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        if self._is_one_piece(x):
            mlp, norm = self.mlp, self.norm2
            scale1, scale2 = (getattr(scale, 'scale', None) for scale in (self.res_scale1, self.res_scale2))
            weights = mlp.fc1.weight, mlp.fc2.weight, mlp.act.scale, mlp.act.bias
            x = self.token_mixer.residual(x, self.norm1, scale1)
            return norm_mlp_residual(x, norm.weight, norm.eps, *weights, res_scale=scale2, out=x)
        x = self.res_scale1(x) + self.drop_path1(self.token_mixer(self.norm1(x), prepared))
        return self.res_scale2(x) + self.drop_path2(self.mlp(self.norm2(x)))

    def _is_one_piece(self, x: Tensor) -> bool:
        """Whether each half of the block may be computed as one: in evaluation, if nobody hooks into the parts."""
        return (
            not self.training
            and records_nothing()
            and autocast_dtype(x) is None
            and isinstance(self.token_mixer, TokenMixer)
            and is_plain(self.norm2, nn.LayerNorm)
            and is_plain(self.mlp, Mlp)
            and self.mlp.is_plain()
            and all(is_plain(scale, type(scale)) for scale in (self.res_scale1, self.res_scale2))
        )


class Downsample(nn.Module):
    """Strided convolution between stages, with a norm before it, or after it in the stem.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: Taps on both axes.
        stride: Stride on both axes.
        padding: Padding on both axes.
        norm_first: Whether the norm is before the convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int, norm_first: bool
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.norm = nn.LayerNorm(in_channels if norm_first else out_channels, eps=1e-6, bias=False)
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
        self.conv = conv.to(memory_format=torch.channels_last)  # as the maps are, or every forward would copy it

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C_in)`` to ``(B, H', W', C_out)``."""
        if self.norm_first:
            x = self.norm(x)
        x = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, H', W', C_out)
        return x if self.norm_first else self.norm(x)
