"""HyenaVolume: blocks of Hyena N-D over the patches of sequences, images or volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmhyena.backbones.base import InitConfig, PlainBackbone, drop_path_rates
from mmhyena.backbones.norms import normalize
from mmhyena.checks import check_choice, check_int, int_tuple
from mmhyena.layers import ViTBlock
from mmhyena.layers.build import complete
from mmhyena.registry import MODELS

__all__ = ['HyenaVolume']

_CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_OUT_TYPES = ('avg_featmap', 'featmap')


@MODELS.register_module()
class HyenaVolume(PlainBackbone):
    """Plain backbone for data with one, two or three axes, primarily volumes (Hyena N-D, arXiv 2309.13600; ours).

    Patches, then blocks of norm, mixer, norm and MLP as in ViT, without positions: zero padding and directions that
    alternate from block to block tell the mixers where they are. Inputs may have any size.

    Args:
        embed_dims: Channels C.
        num_layers: Number of blocks.
        ndim: Number of axes, 1 to 3.
        img_size: Size of the inputs that kernels are made for, one integer for all axes or one for each.
        patch_size: Size of a patch on every axis.
        in_channels: Channels of the input.
        token_mixer: Config of the mixer; the default is :class:`~mmhyena.layers.HyenaND` with the joint filter and
            alternating directions.
        out_indices: Blocks whose features are returned, an integer or a sequence; negative ones count from the end.
        out_type: ``'avg_featmap'`` gives ``(B, C)`` for classifiers, ``'featmap'`` feature maps ``(B, C, *spatial)``.
        frozen_stages: -1 freezes nothing, 0 the patches, ``n`` the patches and the first ``n`` blocks.
        norm_eval: Whether batch norms, of outputs or in a token mixer, keep their running statistics fixed.
        norm_cfg: Config of the output norms, see :func:`~mmhyena.backbones.norms.build_norm`; layer norm with an
            epsilon of 1e-6 if None.
        with_cp: Whether blocks recompute their activations in the backward pass to save memory.
        drop_path_rate: Rate of stochastic depth of the last block; it rises linearly from 0 at the first.
        init_cfg: MMEngine's initialization config. ``type='Pretrained'`` takes checkpoints of this backbone.

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
        out_indices: int | Sequence[int] = -1,
        out_type: str = 'avg_featmap',
        frozen_stages: int = -1,
        with_cp: bool = False,
        drop_path_rate: float = 0.0,
        norm_eval: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: InitConfig = None,
    ) -> None:
        check_int('embed_dims', embed_dims)
        check_int('num_layers', num_layers)
        super().__init__(num_layers, 'blocks', out_indices, frozen_stages, norm_eval, init_cfg)
        self.ndim = check_int('ndim', ndim, 1, 3)
        self.patch_size = check_int('patch_size', patch_size)
        self.out_type = check_choice('out_type', out_type, _OUT_TYPES)

        mixer = token_mixer or dict(type='HyenaND', direction='alternating')
        size = int_tuple('img_size', img_size, ndim)
        mixer = complete(mixer, ndim=ndim, map_size=tuple(-(-n // patch_size) for n in size))
        conv = _CONVS[ndim]
        self.patch_embed = conv(check_int('in_channels', in_channels), embed_dims, patch_size, stride=patch_size)
        self.layers = nn.ModuleList(
            ViTBlock(embed_dims, complete(mixer, block_index=i), drop_path_rate=rate, with_cp=with_cp)
            for i, rate in enumerate(drop_path_rates(drop_path_rate, num_layers))
        )
        self._add_output_norms([embed_dims] * num_layers, norm_cfg or dict(type='LN', eps=1e-6), ndim)
        self._finish()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``x`` ``(B, in_channels, *spatial)``, as ``out_type`` says, one tensor per out index.

        Feature maps have ``ceil(size / patch_size)`` positions on each axis.
        """
        if x.dim() != self.ndim + 2:
            raise ValueError(f'HyenaVolume of {self.ndim} axes takes (B, C, *spatial), got shape {tuple(x.shape)}')
        padding = [pad for size in reversed(x.shape[2:]) for pad in (0, -size % self.patch_size)]
        x = self.patch_embed(F.pad(x, padding)).movedim(1, -1)  # (B, *spatial, C)
        outs = []
        for i, layer in enumerate(self.layers[: self.out_indices[-1] + 1]):
            x = layer(x)
            if i in self.out_indices:
                normed = normalize(self.get_submodule(f'norm{i}'), x)
                pooled = self.out_type == 'avg_featmap'
                outs.append(normed.flatten(1, -2).mean(1) if pooled else normed.movedim(-1, 1).contiguous())
        return tuple(outs)

    def _frozen_modules(self) -> Iterable[nn.Module]:
        yield from super()._frozen_modules()
        yield from (self.get_submodule(f'norm{i}') for i in self.out_indices if i < self.frozen_stages)
