"""HyenaSwin: the pyramid of Swin with Hyena N-D instead of window attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.backbones.pyramid import NUM_STAGES, PyramidBackbone
from mmhyena.checks import int_tuple
from mmhyena.layers import ViTBlock
from mmhyena.layers.build import complete
from mmhyena.registry import MODELS

__all__ = ['HyenaSwin']

_TINY = dict(depths=(2, 2, 6, 2), channels=(96, 192, 384, 768))
_SMALL = dict(depths=(2, 2, 18, 2), channels=(96, 192, 384, 768))
_BASE = dict(depths=(2, 2, 18, 2), channels=(128, 256, 512, 1024))


class PatchMerging(nn.Module):
    """Merge 2 x 2 pixels into one: norm over the four together, then a linear layer (Swin, arXiv 2103.14030).

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * in_channels)
        self.reduction = nn.Linear(4 * in_channels, out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Merge ``(B, H, W, C_in)`` into ``(B, ceil(H / 2), ceil(W / 2), C_out)``; odd edges are zero-padded."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)  # (B, H / 2, W / 2, 4 C_in)
        return self.reduction(self.norm(x))


class PatchStem(nn.Module):
    """Project patches of 4 x 4 pixels, then norm (Swin, arXiv 2103.14030).

    Args:
        in_channels: Channels of the image.
        out_channels: Channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, 4, stride=4)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed ``(B, H, W, C_in)`` into ``(B, ceil(H / 4), ceil(W / 4), C_out)``; edges are zero-padded."""
        x = F.pad(x, (0, 0, 0, -x.shape[2] % 4, 0, -x.shape[1] % 4))
        return self.norm(self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


@MODELS.register_module()
class HyenaSwin(PyramidBackbone):
    """Swin's pyramid with Hyena N-D for mixing, and features at strides 4, 8, 16 and 32.

    The abstract of Hyena N-D (arXiv 2309.13600) names Swin (arXiv 2103.14030) as a host, but neither paper nor code
    describes it, so this is our reading. Stem, patch merging, widths, depths and blocks (norm, mixer, residual; norm,
    MLP, residual) are Swin's; Hyena N-D replaces window attention. Windows serve to make attention
    affordable. A long convolution costs ``n log n``, so each mixer sees the whole feature map by default, and blocks
    alternate between up and left, and down and right, instead of shifting windows. ``window_size`` keeps the windows
    and their shifts. There is no relative position bias, since the filter acts as one.

    Args:
        arch: ``'swin_tiny'`` (default), ``'swin_small'``, ``'swin_base'``, or a dict with ``depths`` (blocks per
            stage) and ``channels`` (per stage).
        img_size: Image size in pixels that kernels are made for, an integer or ``(H, W)``. Other sizes work too.
        token_mixer: Config of the mixer of all stages, or a list of one for each.
        window_size: Size in pixels of the windows in which the mixers work, or None for the whole feature map.
        **kwargs: ``in_channels``, ``out_indices``, ``frozen_stages`` and all else that
            :class:`~mmhyena.backbones.pyramid.PyramidBackbone` takes.

    Raises:
        ValueError: If an argument is not one of the above, or an input is smaller than 32 x 32.
    """

    arch_settings = {'swin_tiny': _TINY, 'swin_small': _SMALL, 'swin_base': _BASE}
    default_arch = 'swin_tiny'
    default_init_cfg = (dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),)

    def __init__(
        self,
        arch: str | Mapping[str, Any] | None = None,
        img_size: int | Sequence[int] = 224,
        token_mixer: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        window_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        arch = self._resolve_arch(arch, ('depths', 'channels'))
        super().__init__(dict(arch, token_mixers=_stage_mixers(token_mixer, img_size, window_size)), **kwargs)

    def _make_downsample(self, stage: int, in_channels: int, out_channels: int) -> nn.Module:
        return PatchMerging(in_channels, out_channels) if stage else PatchStem(in_channels, out_channels)

    def _make_block(self, stage: int, token_mixer: dict, drop_path_rate: float, with_cp: bool) -> nn.Module:
        return ViTBlock(
            self.embed_dims[stage], token_mixer, self.mlp_ratio, drop_path_rate=drop_path_rate, with_cp=with_cp
        )


def _stage_mixers(
    token_mixer: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    img_size: int | Sequence[int],
    window_size: int | None,
) -> list[dict]:
    """Return the config of every stage's mixer, with the size of the stage's feature maps or of the windows."""
    if token_mixer is None:
        token_mixer = dict(type='HyenaND', direction='alternating')
    mixers = [token_mixer] * NUM_STAGES if isinstance(token_mixer, Mapping) else list(token_mixer)
    if len(mixers) != NUM_STAGES:
        raise ValueError(f'token_mixer needs one config, or one for each of the {NUM_STAGES} stages, got {len(mixers)}')
    if window_size is not None:
        return [dict(type='WindowedMixer', mixer=mixer, window_size=window_size) for mixer in mixers]
    pixels = int_tuple('img_size', img_size, 2)
    return [
        complete(mixer, map_size=tuple(-(-size // (4 * 2**stage)) for size in pixels))
        for stage, mixer in enumerate(mixers)
    ]
