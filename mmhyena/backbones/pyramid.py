"""What the backbones with four stages at strides 4, 8, 16 and 32 have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhyena.checkpoints import PretrainedMixin
from mmhyena.layers.build import complete, takes

__all__ = ['PyramidBackbone']


class PyramidBackbone(PretrainedMixin):
    """Four stages of blocks, each behind a downsampling layer, with a norm for every output.

    A family gives the layers by :meth:`_make_downsample` and :meth:`_make_block`, which take and give
    ``(B, H, W, C)``. Token mixers that take a ``block_index`` are numbered among themselves.

    Args:
        arch: Name of an architecture in ``arch_settings``, the family's ``default_arch`` if None, or a dict with
            ``depths`` (blocks a stage), ``dims`` (channels a stage) and ``token_mixers`` (a config a stage).
        in_channels: Channels of the image.
        out_indices: Stages whose features come out, 0 to 3.
        frozen_stages: -1 freezes nothing, 0 the stem, ``n`` the stem and the first ``n`` stages.
        norm_eval: Whether batch norms, which a token mixer of yours may hold, keep their running statistics fixed.
        with_cp: Whether blocks compute their activations again in the backward to save memory.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        filter_resize: Whether long kernels are resampled to the map at hand; None leaves it to the token mixers.
        gap_before_final_norm: Whether each output is the normalised mean over the pixels, ``(B, C)``, as a
            classifier needs it, instead of a normalised map.
        init_cfg: MMEngine's initialisation config. ``type='Pretrained'`` takes official checkpoints and ours.

    Raises:
        ValueError: If an argument is not one of the above, or an input is smaller than 32 x 32.
    """

    arch_settings: Mapping[str, Mapping[str, Any]] = {}
    default_arch = ''
    min_size = 32

    def __init__(
        self,
        arch: str | Mapping[str, Any] | None = None,
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
        arch = self._resolve_arch(arch, ('depths', 'dims', 'token_mixers'))
        self.depths, self.embed_dims = tuple(arch['depths']), tuple(arch['dims'])
        self.mlp_ratio = arch.get('mlp_ratio', 4)
        self.out_indices = self._resolve_indices(out_indices)
        if not -1 <= frozen_stages <= len(self.depths):
            raise ValueError(f'frozen_stages must be -1 to {len(self.depths)}, got {frozen_stages}')
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.gap_before_final_norm = gap_before_final_norm

        channels = (in_channels, *self.embed_dims)
        self.downsample_layers = nn.ModuleList(
            self._make_downsample(i, channels[i], channels[i + 1]) for i in range(len(self.depths))
        )
        drop_rates = iter(torch.linspace(0, drop_path_rate, sum(self.depths), device='cpu').tolist())
        mixers = iter(_block_mixers(arch, filter_resize))
        self.stages = nn.ModuleList(
            nn.Sequential(*(self._make_block(i, next(mixers), next(drop_rates), with_cp) for _ in range(depth)))
            for i, depth in enumerate(self.depths)
        )
        for i in self.out_indices:
            # The official classifier and feature extractor of HyenaPixel differ in their epsilon.
            norm = nn.LayerNorm(self.embed_dims[i], eps=1e-6 if gap_before_final_norm else 1e-5)
            self.add_module(f'norm{i}', norm)
        self.apply(self._init_module)
        self._freeze_stages()

    def _make_downsample(self, stage: int, in_channels: int, out_channels: int) -> nn.Module:
        raise NotImplementedError

    def _make_block(self, stage: int, token_mixer: dict, drop_path_rate: float, with_cp: bool) -> nn.Module:
        raise NotImplementedError

    @staticmethod
    def _init_module(module: nn.Module) -> None:
        """Initialise what is neither a norm nor a part of a filter; :meth:`torch.nn.Module.apply` calls it."""
        raise NotImplementedError

    @classmethod
    def _resolve_arch(cls, arch: str | Mapping[str, Any] | None, keys: Sequence[str]) -> Mapping[str, Any]:
        arch = cls.default_arch if arch is None else arch
        if isinstance(arch, str):
            if arch not in cls.arch_settings:
                raise ValueError(f'arch {arch!r} is unknown; choose one of {", ".join(cls.arch_settings)}, or a dict')
            return cls.arch_settings[arch]
        if missing := set(keys) - set(arch):
            raise ValueError(f'arch lacks {", ".join(sorted(missing))}')
        if any(len(arch[key]) != 4 for key in keys):
            raise ValueError(f'arch needs four {", four ".join(keys[:-1])} and four {keys[-1]}, one a stage')
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
                f'{type(self).__name__} needs inputs of at least {self.min_size} x {self.min_size} pixels, '
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
        for i in range(self.out_indices[-1] + 1, len(self.depths)):
            # Nothing uses these. Distributed training would wait for gradients that never come.
            frozen += [self.downsample_layers[i], self.stages[i]]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> PyramidBackbone:
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

    def get_stage_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the stage that a parameter belongs to, and the number of stages, for stage-wise learning rates.

        Stem and downsampling are 0, the stages of blocks 1 to 4, as in ConvNeXt's rule; output norms and heads are 5.

        Args:
            param_name: As in :meth:`get_layer_depth`.
            prefix: As in :meth:`get_layer_depth`.
        """
        last = len(self.depths) + 1
        if not param_name.startswith(prefix):
            return last, last + 1
        kind, stage, *_ = param_name[len(prefix) :].split('.')
        if kind == 'stages':
            return int(stage) + 1, last + 1
        return 0 if kind == 'downsample_layers' else last, last + 1


def _block_mixers(arch: Mapping[str, Any], filter_resize: bool | None) -> list[dict]:
    """Return the config of every block's mixer, the first block's first."""
    mixers, numbered = [], 0
    for depth, mixer in zip(arch['depths'], arch['token_mixers']):
        if filter_resize is not None and takes(mixer, 'filter_resize'):
            mixer = dict(mixer, filter_resize=filter_resize)
        for _ in range(depth):
            mixers.append(complete(mixer, block_index=numbered))
            numbered += takes(mixer, 'block_index')
    return mixers
