"""Learning rates that fall towards the input, layer by layer or stage by stage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import Tensor, nn

from mmhyena.registry import OPTIM_WRAPPER_CONSTRUCTORS

__all__ = ['LayerDecayOptimWrapperConstructor']

_DEPTH_METHODS = {'layer_wise': 'get_layer_depth', 'stage_wise': 'get_stage_depth'}
_OPTIONS = {'decay_rate', 'decay_type', 'num_layers', 'official_decay'}
# What a long filter is made of besides the weights of its network.
_FILTER_TENSORS = (
    'long_conv.skip',
    'long_conv.filter.kernel',
    'long_conv.filter.position.table',
    'long_conv.window.delta',
    'long_conv.window.shift',
    '.frequency',
)
_NEVER_DECAY = ('.bias', 'long_conv.skip', 'pos_embed', 'cls_token')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Learning rate ``lr * decay_rate ** (distance from the head)`` for every parameter.

    The distance is asked of ``model.backbone``, or of the model if it is a backbone itself: ``get_layer_depth`` or
    ``get_stage_depth`` of a parameter's name. So classifiers, detectors and segmentors work alike, wrapped by
    ``DistributedDataParallel`` or not. Parameters outside the backbone are the head, with the full rate.

    Biases, one-dimensional parameters and the tensors of long filters (position code, direct kernel, window,
    frequencies, skip) have no weight decay.

    ``paramwise_cfg`` takes:

    - ``decay_rate`` (float): Factor from one layer to the next one below, in (0, 1].
    - ``decay_type`` (str): ``'layer_wise'`` (default), where three blocks of the third stage are a layer, or
      ``'stage_wise'``.
    - ``num_layers`` (int): Number of layers between stem and head if it should differ from the backbone's own. In
      stage-wise decay it only sets the distance of the head, as in the official Cityscapes recipe, 12 for four
      stages: the last stage is then 9 steps below the head.
    - ``official_decay`` (bool): Whether position codes, windows and frequencies decay, as they do in the official
      training: they have more than one axis there. The skip does not, since it is called a bias. Defaults to False.

    Example:
        >>> optim_wrapper = dict(
        ...     optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05),
        ...     constructor='mmhyena.LayerDecayOptimWrapperConstructor',
        ...     paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise', num_layers=6),
        ... )
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        cfg = self.paramwise_cfg
        if unknown := set(cfg) - _OPTIONS:
            raise ValueError(
                f'paramwise_cfg of LayerDecayOptimWrapperConstructor has unknown keys {", ".join(sorted(unknown))}; '
                f'it takes {", ".join(sorted(_OPTIONS))}'
            )
        if not 0 < cfg.get('decay_rate', 0) <= 1:
            raise ValueError(f'paramwise_cfg needs a decay_rate in (0, 1], got {cfg.get("decay_rate")}')
        if cfg.get('decay_type', 'layer_wise') not in _DEPTH_METHODS:
            raise ValueError(f'decay_type must be one of {", ".join(_DEPTH_METHODS)}, got {cfg["decay_type"]!r}')
        if self.base_lr is None:
            raise ValueError('the optimizer needs a learning rate, lr, for layers to have a part of it')

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **kwargs: Any) -> None:
        """Add a group for every layer and weight decay to ``params``; each says its layer and its parameters' names.

        Raises:
            ValueError: If the backbone does not tell the depth of a parameter, or has more layers than
                ``num_layers``.
        """
        layer_of, head = self._depths(module)
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            layer, decays = layer_of(name), self._decays(name, param)
            group = groups.setdefault((layer, decays), self._group(layer, head, decays))
            group['params'].append(param)
            group['param_names'].append(name)
        params.extend(groups[key] for key in sorted(groups))
        for group in params:
            print_log(
                f'{group["group_name"]}: {len(group["params"])} tensors, lr {group["lr"]:.3g}, weight decay '
                f'{group.get("weight_decay")}',
                logger='current',
                level=logging.INFO,
            )

    def _depths(self, model: nn.Module) -> tuple[Callable[[str], int], int]:
        """Return the layer of a parameter by its name, and the layer of the head."""
        method = _DEPTH_METHODS[self.paramwise_cfg.get('decay_type', 'layer_wise')]
        backbone, prefix = getattr(model, 'backbone', None), 'backbone.'
        if backbone is None:
            backbone, prefix = model, ''
        if not hasattr(backbone, method):
            raise ValueError(f'{type(backbone).__name__} has no {method}, which tells the layer of a parameter')
        get_depth = getattr(backbone, method)
        own_head = get_depth('', 'backbone.')[1] - 1
        num_layers = self.paramwise_cfg.get('num_layers', own_head - 1)
        if num_layers < own_head - 1:
            raise ValueError(f'num_layers is {num_layers}, but the backbone has {own_head - 1} layers: drop num_layers')

        def layer_of(name: str) -> int:
            layer = get_depth(name, prefix)[0]
            if layer == own_head:
                return num_layers + 1
            # ConvNeXt's rule: whatever their number, the last stage is the last layer.
            return num_layers if layer == own_head - 1 and method == 'get_layer_depth' else layer

        return layer_of, num_layers + 1

    def _group(self, layer: int, head: int, decays: bool) -> dict[str, Any]:
        scale = self.paramwise_cfg['decay_rate'] ** (head - layer)
        group = dict(
            params=[],
            param_names=[],
            group_name=f'layer_{layer}_{"decay" if decays else "no_decay"}',
            lr_scale=scale,
            lr=self.base_lr * scale,
        )
        if self.base_wd is not None:
            group['weight_decay'] = self.base_wd if decays else 0.0
        return group

    def _decays(self, name: str, param: Tensor) -> bool:
        if name.endswith(_NEVER_DECAY):
            return False
        if name.endswith(_FILTER_TENSORS):
            # Vectors here, but of two to four axes in the official models, whose rule looks at the axes.
            return self.paramwise_cfg.get('official_decay', False)
        return param.dim() > 1
