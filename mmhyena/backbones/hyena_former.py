"""HyenaFormer: the MetaFormer pyramid with a token mixer of choice in each stage."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..layers import Downsample, MetaFormerBlock
from ..registry import MODELS

__all__ = ['HyenaFormer']

_S18 = dict(depths=(3, 3, 9, 3), dims=(64, 128, 320, 512))
_B36 = dict(depths=(3, 12, 18, 3), dims=(128, 256, 512, 768))
_TINY = dict(depths=(2, 2, 4, 2), dims=(32, 64, 128, 192))


def _hpx(kernels: Sequence[int], position_dims: Sequence[int] = (32, 32, 48, 64), norm: bool = False) -> list[dict]:
    return [
        dict(type='HyenaPixel', kernel_size=kernel, position_dim=dim, norm=norm)
        for kernel, dim in zip(kernels, position_dims)
    ]


def _hb(l_max: Sequence[int] = (3136, 784, 196, 49), norm: bool = False) -> list[dict]:
    shapes = zip(l_max, (33, 33, 49, 65), (64, 64, 96, 128))
    return [
        dict(type='BidirectionalHyena', l_max=length, position_dim=dim, width=width, norm=norm)
        for length, dim, width in shapes
    ]


_HPX_224 = (111, 55, 27, 13)
_SEP_CONV = dict(type='SepConv')
_ATTENTION = dict(type='Attention')


@MODELS.register_module()
class HyenaFormer(BaseModule):
    """HyenaPixel and bidirectional Hyena backbones with features at strides 4, 8, 16 and 32.

    The official architectures of arXiv 2402.19305 (table 2) in the MetaFormer shell (arXiv 2210.13452). Inputs may
    have any size from 32 x 32 up, square or not.

    Args:
        arch: Name of an architecture in :attr:`arch_settings`, or a dict with ``depths`` (blocks a stage), ``dims``
            (channels a stage) and ``token_mixers`` (a config a stage).
        in_channels: Channels of the image.
        out_indices: Stages whose features come out, 0 to 3.
        frozen_stages: -1 freezes nothing, 0 the stem, ``n`` the stem and the first ``n`` stages.
        norm_eval: Whether batch norms, which a token mixer of yours may hold, keep their running statistics fixed.
        with_cp: Whether blocks compute their activations again in the backward to save memory.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        filter_resize: Whether long kernels are resampled to the map at hand; None leaves it to the token mixers.
        gap_before_final_norm: Whether each output is the normalised mean over the pixels, ``(B, C)``, as a
            classifier needs it, instead of a normalised map.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If an argument is not one of the above, or an input is smaller than 32 x 32.
    """

    arch_settings = {
        'hpx_former_tiny': dict(_TINY, token_mixers=_hpx((63, 31, 15, 7), (16, 16, 24, 32))),
        'hb_former_tiny': dict(_TINY, token_mixers=_hb((1024, 256, 64, 16))),
        'hpx_former_s18': dict(_S18, token_mixers=_hpx(_HPX_224, norm=True)),
        'hpx_former_b36': dict(_B36, token_mixers=_hpx(_HPX_224, norm=True)),
        'hb_former_s18': dict(_S18, token_mixers=_hb()),
        'hb_former_b36': dict(_B36, token_mixers=_hb(norm=True)),
        'c_hpx_former_s18': dict(_S18, token_mixers=[_SEP_CONV] * 2 + _hpx(_HPX_224)[2:]),
        'hpx_a_former_s18': dict(_S18, token_mixers=_hpx(_HPX_224)[:2] + [_ATTENTION] * 2),
        'hb_a_former_s18': dict(_S18, token_mixers=_hb()[:2] + [_ATTENTION] * 2),
    }
    min_size = 32

    def __init__(
        self,
        arch: str | dict = 'hpx_former_s18',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        drop_path_rate: float = 0.0,
        filter_resize: bool | None = None,
        gap_before_final_norm: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        arch = self._resolve_arch(arch)
        self.depths, self.embed_dims = tuple(arch['depths']), tuple(arch['dims'])
        self.out_indices = self._resolve_indices(out_indices)
        if not -1 <= frozen_stages <= len(self.depths):
            raise ValueError(f'frozen_stages must be -1 to {len(self.depths)}, got {frozen_stages}')
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.gap_before_final_norm = gap_before_final_norm

        channels = (in_channels, *self.embed_dims)
        self.downsample_layers = nn.ModuleList(
            Downsample(channels[i], channels[i + 1], *((7, 4, 2) if i == 0 else (3, 2, 1)), norm_first=i > 0)
            for i in range(len(self.depths))
        )
        drop_rates = torch.linspace(0, drop_path_rate, sum(self.depths), device='cpu').split(self.depths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    MetaFormerBlock(dim, _with_resize(mixer, filter_resize), float(rate), i >= 2, with_cp)
                    for rate in drop_rates[i]
                )
            )
            for i, (dim, mixer) in enumerate(zip(self.embed_dims, arch['token_mixers']))
        )
        for i in self.out_indices:
            # The official classifier and feature extractor differ in their epsilon.
            norm = nn.LayerNorm(self.embed_dims[i], eps=1e-6 if gap_before_final_norm else 1e-5)
            self.add_module(f'norm{i}', norm)
        self.apply(_init_weights)
        self._freeze_stages()

    def _resolve_arch(self, arch: str | dict) -> dict:
        if isinstance(arch, str):
            if arch not in self.arch_settings:
                raise ValueError(f'arch {arch!r} is unknown; choose one of {", ".join(self.arch_settings)}, or a dict')
            return self.arch_settings[arch]
        missing = {'depths', 'dims', 'token_mixers'} - set(arch)
        if missing:
            raise ValueError(f'arch lacks {", ".join(sorted(missing))}')
        if not len(arch['depths']) == len(arch['dims']) == len(arch['token_mixers']) == 4:
            raise ValueError('arch needs four depths, four dims and four token_mixers, one a stage')
        return arch

    def _resolve_indices(self, out_indices: Sequence[int]) -> tuple[int, ...]:
        stages = len(self.depths)
        indices = tuple(sorted(i + stages if i < 0 else i for i in out_indices))
        if not indices or len(set(indices)) < len(indices) or not all(0 <= i < stages for i in indices):
            raise ValueError(f'out_indices must be distinct stages of 0 to {stages - 1}, got {tuple(out_indices)}')
        return indices

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``x`` ``(B, in_channels, H, W)``.

        Returns:
            One tensor for each of ``out_indices``: ``(B, C, H / s, W / s)`` at strides s of 4, 8, 16 and 32, or
            ``(B, C)`` if ``gap_before_final_norm``. ``(H + 1) // 4`` rows leave the stem, and each further stage
            halves them, rounding up.
        """
        if min(x.shape[2:]) < self.min_size:
            raise ValueError(
                f'HyenaFormer needs inputs of at least {self.min_size} x {self.min_size} pixels, '
                f'got {x.shape[2]} x {x.shape[3]}; pad or resize them'
            )
        outs = []
        x = x.permute(0, 2, 3, 1)  # (B, H, W, in_channels); channels stay last until the output
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))  # (B, H', W', C)
            if i in self.out_indices:
                outs.append(self._output(x, getattr(self, f'norm{i}')))
            if i == self.out_indices[-1]:
                break
        return tuple(outs)

    def _output(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        if self.gap_before_final_norm:
            return norm(x.mean((1, 2)))  # (B, C)
        return norm(x).permute(0, 3, 1, 2).contiguous()  # (B, C, H', W')

    def _freeze_stages(self) -> None:
        frozen = [self.downsample_layers[0]] if self.frozen_stages >= 0 else []
        for i in range(self.frozen_stages):
            frozen += [self.downsample_layers[i], self.stages[i]]
            if i in self.out_indices:
                frozen.append(getattr(self, f'norm{i}'))
        for module in frozen:
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> HyenaFormer:
        """Set the mode; frozen stages stay in evaluation mode, and so do batch norms if ``norm_eval``."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the layer that a parameter belongs to, and the number of layers, for layer-wise learning rates.

        Three blocks of the third stage make a layer, every other stage is one, as in ConvNeXt's rule: s18 has
        layers 1 to 6 between the stem (0) and the output norms and heads (7).

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What stands before this backbone's own names, such as ``'backbone.'``.
        """
        last = 3 + -(-self.depths[2] // 3)
        if not param_name.startswith(prefix):
            return last + 1, last + 2
        kind, stage, *rest = param_name[len(prefix) :].split('.')
        if kind == 'downsample_layers':
            layer = (0, 2, 3, last)[int(stage)]
        elif kind == 'stages':
            layer = (1, 2, 3 + int(rest[0]) // 3, last)[int(stage)]
        else:
            layer = last + 1
        return layer, last + 2


def _with_resize(token_mixer: dict, filter_resize: bool | None) -> dict:
    token_mixer = copy.deepcopy(dict(token_mixer))
    if filter_resize is not None and token_mixer['type'] not in ('SepConv', 'Attention'):
        token_mixer['filter_resize'] = filter_resize
    return token_mixer


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
