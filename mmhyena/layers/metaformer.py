"""The MetaFormer shell around a token mixer: activations, residual scale, channel MLP, block, downsampling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from mmhyena.layers.fusible import why_not_fusible
from mmhyena.ops import is_compiling, star_relu, star_relu_mlp
from mmhyena.registry import MODELS

__all__ = ['Downsample', 'MetaFormerBlock', 'Mlp', 'Scale', 'SquaredReLU', 'StarReLU']


class StarReLU(nn.Module):
    """``scale * relu(x) ** 2 + bias`` with learnable scalars (MetaFormer baselines, arXiv 2210.13452, section 2.3).

    With the initial values, scale 0.8944 and bias -0.4472, a standard normal input has a standard normal output's mean
    and variance.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.8944]))
        self.bias = nn.Parameter(torch.tensor([-0.4472]))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to ``x`` of any shape."""
        return star_relu(x, self.scale, self.bias)


class SquaredReLU(nn.Module):
    """``relu(x) ** 2`` (Primer, arXiv 2109.08668)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to ``x`` of any shape."""
        return F.relu(x).square()


class Scale(nn.Module):
    """Learnable factor per channel, initially 1.

    Args:
        channels: Number of channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` ``(..., C)``."""
        return x * self.scale


class Mlp(nn.Module):
    """Channel MLP with StarReLU and without biases, ``fc2(act(fc1(x)))``.

    In training it runs as one operator that saves less for backward, unless a part has hooks or was replaced.

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
        """Apply the MLP to ``x`` ``(..., C)``; same shape out."""
        if torch.is_grad_enabled() and not is_compiling() and self.why_not_fusible() is None:
            return star_relu_mlp(x, self.fc1.weight, self.fc2.weight, self.act.scale, self.act.bias)
        return self.fc2(self.act(self.fc1(x)))

    def why_not_fusible(self) -> str | None:
        """Return why the three parts may not run as one operator, or None if they may."""
        for name, kind in (('fc1', nn.Linear), ('act', StarReLU), ('fc2', nn.Linear)):
            if reason := why_not_fusible(self.get_submodule(name), kind, bias=kind is StarReLU):
                return f'{name}: {reason}'
        return None


class MetaFormerBlock(nn.Module):
    """Token mixer and channel MLP, each with a norm before it and a residual around both (arXiv 2210.13452).

    ``x = res_scale1(x) + drop_path1(token_mixer(norm1(x)))``; ``x = res_scale2(x) + drop_path2(mlp(norm2(x)))``.

    Args:
        channels: Number of channels C.
        token_mixer: Config of the mixer, built with ``channels``.
        drop_path_rate: Probability with which a sample skips a branch in training.
        res_scale: Whether the residuals have a learnable scale.
        with_cp: Whether activations are recomputed in the backward instead of saved; the mixer's kernel is not.
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
        """Apply the block to ``x`` ``(B, *spatial, C)``; same shape out."""
        if self.with_cp and torch.is_grad_enabled():
            prepared = self.token_mixer.prepare(x.shape[1:-1])
            return checkpoint(self._forward, x, prepared, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        x = self.res_scale1(x) + self.drop_path1(self.token_mixer(self.norm1(x), prepared))
        return self.res_scale2(x) + self.drop_path2(self.mlp(self.norm2(x)))


class Downsample(nn.Module):
    """Strided convolution between stages, with a norm before it, or after it in the stem.

    Args:
        in_channels: Channels C_in of the input.
        out_channels: Channels C_out of the output.
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
        # In the layout of the feature maps, or every forward copies it. (torch has no annotation for this call.)
        self.conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Downsample ``x`` ``(B, H, W, C_in)`` to ``(B, H', W', C_out)``."""
        if self.norm_first:
            x = self.norm(x)
        x = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, H', W', C_out)
        return x if self.norm_first else self.norm(x)
