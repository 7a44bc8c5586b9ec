"""Backbones of timm, to be compared with ours under one recipe."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from torch import Tensor, nn

from mmhyena.backbones.base import BaseBackbone, InitConfig
from mmhyena.backbones.norms import normalize
from mmhyena.backbones.pyramid import layer_of_block
from mmhyena.checkpoints import compare, read_checkpoint, render, unwrap
from mmhyena.checks import check_int, check_rate
from mmhyena.errors import name_checkpoint
from mmhyena.registry import MODELS

__all__ = ['TimmBackbone']

# What the models are asked for beyond their defaults, so that they take images of any size.
_ANY_SIZE: Mapping[str, dict[str, Any]] = {
    'swin': dict(strict_img_size=False),
    'vit': dict(dynamic_img_size=True),
    'deit': dict(dynamic_img_size=True),
}
# 'stages.1.blocks.2.', 'layers.1.blocks.2.', 'layer2.2.', 'blocks.2.0.', 'stages_1.blocks.2.'
_BLOCK = re.compile(r'(?:stages|layers|blocks)[._](\d+)\.(?:blocks\.)?(\d+)?|layer(\d+)\.(\d+)?')


# What of a classifier is behind its last feature map.
_HEADS = ('head.', 'fc.', 'classifier.', 'norm.', 'conv_head.', 'bn2.')


class _TimmInit(PretrainedInit):
    """MMEngine's ``Pretrained`` for :class:`TimmBackbone`: every tensor has to fit, and a report is logged."""

    def __call__(self, module: TimmBackbone) -> None:
        """Fill ``module`` and note it in MMEngine's record of initializations."""
        module.load_timm(self.checkpoint)
        update_init_info(module, init_info=self._get_init_info())


@MODELS.register_module()
class TimmBackbone(BaseBackbone):
    """A model of timm with multi-scale features, under the same arguments as our backbones.

    Any model with ``forward_intermediates`` works: Swin, ConvNeXt, ConvFormer, CAFormer, PVT, ResNet, ViT and most
    others. Features are followed by a norm each, as our backbones' are. Outputs are numbered as timm numbers them;
    ``out_indices=None`` takes those at strides 4, 8, 16 and 32, or the last four.

    Args:
        model_name: Name of the model, such as ``'convnext_tiny'``.
        in_channels: Channels of the image.
        out_indices: Which feature maps are returned, an integer or a sequence; negative ones count from the end.
        frozen_stages: -1 freezes nothing, 0 the stem, ``n`` the stem and the first ``n`` stages.
        norm_eval: Whether batch norms keep their running statistics fixed.
        with_cp: Whether activations are recomputed in the backward pass to save memory.
        drop_path_rate: timm's stochastic depth of the last block.
        pretrained: Whether timm downloads its own weights.
        gap_before_final_norm: Whether each output is the normalized mean over the pixels, ``(B, C)``.
        norm_cfg: Config of the output norms; layer norm with an epsilon of 1e-5 by default, 1e-6 with
            ``gap_before_final_norm``.
        model_args: Further arguments of ``timm.create_model``.
        init_cfg: MMEngine's initialization config. ``type='Pretrained'`` takes timm's checkpoints.

    Raises:
        ValueError: If timm has no such model, the model has no multi-scale features, or an argument is wrong.
        ImportError: If timm is not installed.
    """

    pretrained_init = _TimmInit

    def __init__(
        self,
        model_name: str,
        in_channels: int = 3,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        drop_path_rate: float = 0.0,
        pretrained: bool = False,
        gap_before_final_norm: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        model_args: Mapping[str, Any] | None = None,
        init_cfg: InitConfig = None,
    ) -> None:
        model: Any = _create(
            model_name,
            in_chans=check_int('in_channels', in_channels),
            drop_path_rate=check_rate('drop_path_rate', drop_path_rate),
            pretrained=pretrained,
            **(model_args or {}),
        )
        channels, strides = ([info[key] for info in model.feature_info] for key in ('num_chs', 'reduction'))
        if out_indices is None:
            out_indices = [i for i, stride in enumerate(strides) if stride in (4, 8, 16, 32)]
            if len(set(strides)) < len(strides):  # all at one stride, as in a ViT
                out_indices = range(len(strides) - 4, len(strides))
        super().__init__(len(channels), 'feature maps', tuple(_listed(out_indices)), frozen_stages, norm_eval, init_cfg)
        model.prune_intermediate_layers(list(self.out_indices), prune_norm=True, prune_head=True)
        self.model = model
        self.model_name = model_name
        self.embed_dims = tuple(channels[i] for i in self.out_indices)
        self.gap_before_final_norm = gap_before_final_norm
        if with_cp:
            model.set_grad_checkpointing(True)
        if norm_cfg is None:
            norm_cfg = dict(type='LN', eps=1e-6 if gap_before_final_norm else 1e-5)
        self._add_output_norms(channels, norm_cfg, ndim=0 if gap_before_final_norm else 2)
        self._finish()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``x`` ``(B, in_channels, H, W)``.

        Returns:
            One tensor ``(B, C, H', W')`` for each of ``out_indices``, or ``(B, C)`` if ``gap_before_final_norm``.
        """
        maps = self.model.forward_intermediates(
            x, indices=list(self.out_indices), norm=False, output_fmt='NCHW', intermediates_only=True
        )
        outs = []
        for i, feature in zip(self.out_indices, maps):
            norm = self.get_submodule(f'norm{i}')
            if self.gap_before_final_norm:
                outs.append(normalize(norm, feature.mean((2, 3))))  # (B, C)
            else:
                outs.append(normalize(norm, feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous())
        return tuple(outs)

    def load_timm(self, checkpoint: str | Path) -> None:
        """Load a checkpoint of timm's model, with or without its classifier, and log what matched.

        Raises:
            CheckpointError: If the file cannot be read, or tensors are missing, unexpected or of another shape.
        """
        with name_checkpoint(checkpoint):
            state, wrapper = unwrap(read_checkpoint(checkpoint))
        own = self.model.state_dict()
        report = compare(
            state,
            {name: tuple(value.shape) for name, value in own.items()},
            may_be_left_out=lambda name: name.startswith(_HEADS),
        )
        title = f'{checkpoint} ({wrapper}) into {self.model_name}:'
        level = logging.INFO if report.fits else logging.ERROR
        print_log(f'{title}\n{render(report.table())}', logger='current', level=level)
        report.require_fit(str(checkpoint), self.model_name)
        self.model.load_state_dict({name: state[name] for name in own})

    def resize_weights(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return ``state`` as it is: there is nothing to resample."""
        return dict(state), {}

    def _checkpoint_filter(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Leave ``state_dict`` as it is: timm's MetaFormers share names with official models that we convert."""

    def _frozen_modules(self) -> Iterable[nn.Module]:
        if self.frozen_stages < 0:
            return
        for prefix, module in self.model.named_modules():
            names = [f'{prefix}.{name}' if prefix else name for name, _ in module.named_parameters()]
            if names and all(_place(name)[0] < self.frozen_stages for name in names):
                yield module

    @cached_property
    def _depths(self) -> list[int]:
        """Number of blocks of each stage."""
        places = [_place(name) for name, _ in self.model.named_parameters()]
        stages = max(stage for stage, _ in places) + 1
        return [max((block for s, block in places if s == stage and block is not None), default=0) + 1
                for stage in range(stages)]  # fmt: skip

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the layer that a parameter belongs to, and the number of layers, for layer-wise learning rates.

        Pyramids of four stages follow the rule of :class:`~mmhyena.backbones.HyenaFormer`; in all others every block
        is a layer.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What stands before this backbone's own names, such as ``'backbone.'``.
        """
        depths = self._depths
        pyramid = len(depths) == 4
        last = 3 + -(-depths[2] // 3) if pyramid else sum(depths)
        own = param_name.removeprefix(prefix)
        if not param_name.startswith(prefix) or not own.startswith('model.'):
            return last + 1, last + 2
        stage, block = _place(own.removeprefix('model.'))
        if stage < 0:
            return 0, last + 2
        if pyramid:
            return layer_of_block(stage, block, depths), last + 2
        return sum(depths[:stage]) + (block or 0) + 1, last + 2


def _listed(indices: int | Iterable[int]) -> list[int]:
    return [indices] if isinstance(indices, int) else list(indices)


def _create(model_name: str, **arguments: Any) -> nn.Module:
    """Create a model of timm without its classifier."""
    import timm  # not needed by anything else of the package

    if not timm.is_model(model_name):
        close = timm.list_models(f'*{str(model_name)[:8]}*')[:3]
        raise ValueError(f'timm has no model {model_name!r}' + (f'; did you mean {", ".join(close)}?' if close else ''))
    family = next((args for name, args in _ANY_SIZE.items() if model_name.startswith(name)), {})
    model = timm.create_model(model_name, num_classes=0, **(family | arguments))
    if not hasattr(model, 'forward_intermediates') or not getattr(model, 'feature_info', None):
        raise ValueError(f'{model_name} of timm has no multi-scale features: choose another model')
    patches: Any = getattr(model, 'patch_embed', None)
    if hasattr(patches, 'dynamic_img_pad'):
        patches.dynamic_img_pad = True  # an image need not be a multiple of the patch
    return model


def _place(name: str) -> tuple[int, int | None]:
    """Return stage (-1 for the stem) and block (None for downsampling) of a parameter of timm's model."""
    match = _BLOCK.match(name)
    if match is None:
        return -1, None
    stage, block, layer, layer_block = match.groups()
    if layer is not None:
        stage, block = str(int(layer) - 1), layer_block
    return int(stage), None if block is None else int(block)
