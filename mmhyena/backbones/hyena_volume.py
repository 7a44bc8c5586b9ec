"""HyenaVolume: blocks of Hyena N-D over the patches of sequences, images or volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmhyena.layers import ViTBlock
from mmhyena.layers.build import complete
from mmhyena.registry import MODELS

__all__ = ['HyenaVolume']

_CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@MODELS.register_module()
class HyenaVolume(BaseModule):
    """Plain backbone for data with one, two or three axes, volumes at first (Hyena N-D, arXiv 2309.13600; ours).

    Patches, then blocks of norm, mixer, norm and MLP as in ViT, without positions: zeros beyond the border and
    directions that alternate from block to block tell the mixers where they are. Inputs may have any size.

    Args:
        embed_dims: Channels C.
        num_layers: Number of blocks.
        ndim: Number of axes, 1 to 3.
        img_size: Size of the inputs that kernels are made for, one integer for all axes or one for each.
        patch_size: Size of a patch on every axis.
        in_channels: Channels of the input.
        token_mixer: Config of the mixer; the default is :class:`~mmhyena.layers.HyenaND` with the joint filter and
            alternating directions.
        out_indices: Blocks whose features come out; negative ones count from the end.
        out_type: ``'avg_featmap'`` gives ``(B, C)`` for classifiers, ``'featmap'`` maps ``(B, C, *spatial)``.
        frozen_stages: -1 freezes nothing, 0 the patches, ``n`` the patches and the first ``n`` blocks.
        with_cp: Whether blocks compute their activations again in the backward to save memory.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    def __init__(
        self,
        embed_dims: int = 48,
        num_layers: int = 4,
        ndim: int = 3,
        img_size: int | Sequence[int] = 16,
        patch_size: int = 2,
        in_channels: int = 1,
        token_mixer: Mapping[str, Any] | None = None,
        out_indices: Sequence[int] = (-1,),
        out_type: str = 'avg_featmap',
        frozen_stages: int = -1,
        with_cp: bool = False,
        drop_path_rate: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if ndim not in _CONVS:
            raise ValueError(f'ndim must be 1, 2 or 3, got {ndim}')
        if out_type not in ('avg_featmap', 'featmap'):
            raise ValueError(f"out_type must be 'avg_featmap' or 'featmap', got {out_type!r}")
        if not -1 <= frozen_stages <= num_layers:
            raise ValueError(f'frozen_stages must be -1 to {num_layers}, got {frozen_stages}')
        self.out_indices = sorted(i + num_layers if i < 0 else i for i in out_indices)
        if len(set(self.out_indices)) < len(self.out_indices) or not set(self.out_indices) <= set(range(num_layers)):
            raise ValueError(f'out_indices must be distinct blocks of 0 to {num_layers - 1}, got {tuple(out_indices)}')
        self.ndim, self.patch_size = ndim, patch_size
        self.out_type, self.frozen_stages = out_type, frozen_stages

        size = (img_size,) * ndim if isinstance(img_size, int) else tuple(img_size)
        mixer = token_mixer or dict(type='HyenaND', direction='alternating')
        mixer = complete(mixer, ndim=ndim, map_size=tuple(-(-n // patch_size) for n in size))
        self.patch_embed = _CONVS[ndim](in_channels, embed_dims, patch_size, stride=patch_size)
        self.layers = nn.ModuleList(
            ViTBlock(embed_dims, complete(mixer, block_index=i), drop_path_rate=rate, with_cp=with_cp)
            for i, rate in enumerate(torch.linspace(0, drop_path_rate, num_layers, device='cpu').tolist())
        )
        for i in self.out_indices:
            self.add_module(f'norm{i}', nn.LayerNorm(embed_dims, eps=1e-6))
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``x`` ``(B, in_channels, *spatial)``, as ``out_type`` says, a tensor an out index.

        Maps have ``ceil(size / patch_size)`` places on each axis.
        """
        if x.dim() != self.ndim + 2:
            raise ValueError(f'HyenaVolume of {self.ndim} axes takes (B, C, *spatial), got shape {tuple(x.shape)}')
        padding = [pad for size in reversed(x.shape[2:]) for pad in (0, -size % self.patch_size)]
        x = self.patch_embed(F.pad(x, padding)).movedim(1, -1)  # (B, *spatial, C)
        outs = []
        for i, layer in enumerate(self.layers[: self.out_indices[-1] + 1]):
            x = layer(x)
            if i in self.out_indices:
                normed = getattr(self, f'norm{i}')(x)
                pooled = self.out_type == 'avg_featmap'
                outs.append(normed.flatten(1, -2).mean(1) if pooled else normed.movedim(-1, 1).contiguous())
        return tuple(outs)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.patch_embed, *self.layers[: self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> HyenaVolume:
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        self._freeze_stages()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the layer that a parameter belongs to, and the number of layers: patches, one a block, the rest.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What stands before this backbone's own names, such as ``'backbone.'``.
        """
        num_layers = len(self.layers) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        kind, *rest = param_name[len(prefix) :].split('.')
        depth = {'patch_embed': 0, 'layers': int(rest[0]) + 1 if kind == 'layers' else 0}
        return depth.get(kind, num_layers - 1), num_layers
