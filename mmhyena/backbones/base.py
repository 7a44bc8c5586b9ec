"""What all backbones have in common: outputs, frozen parts, initialization and pretrained weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.model.weight_init import BaseInit, PretrainedInit, initialize, update_init_info
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhyena.backbones.norms import build_norm
from mmhyena.checkpoints import ReportedInit, adapt_state_dict, find_family, resize_filters
from mmhyena.checks import check_choice, check_int, check_rate, resolve_indices
from mmhyena.layers.token_mixer import TokenMixer

__all__ = ['BaseBackbone', 'PlainBackbone', 'drop_path_rates']

InitConfig = dict | list[dict] | None


class BaseBackbone(BaseModule):
    """Base of the backbones, which are a sequence of stages or blocks with an output behind each.

    A backbone calls ``super().__init__`` first, builds its modules and ends with :meth:`_finish`. It says by
    :meth:`_frozen_modules` what ``frozen_stages`` means.

    Initialization follows MMEngine: ``init_cfg`` replaces :attr:`default_init_cfg`, ``init_weights()`` applies it, and
    the log of a run says where each parameter comes from. The constructor applies the default as well, so that a
    backbone is fit for training without MMEngine. After ``init_cfg``, also after one of the model around the
    backbone, token mixers restore what they cannot work without. Filter networks are no
    ``nn.Linear`` and keep their own initialization.

    Pretrained weights, ``init_cfg=dict(type='Pretrained', checkpoint=FILE_OR_URL)``, are read by
    :func:`~mmhyena.checkpoints.load_pretrained`: official checkpoints and ours, with a report, and an error where
    something does not fit. Any ``load_state_dict``, hence also a run's ``load_from`` and ``resume``, resamples long
    filters of another kernel size. mmpretrain's ``ImageClassifier`` reads official classifiers through
    ``_checkpoint_filter``.

    Args:
        num_outputs: Number of stages or blocks.
        unit: What these are called in messages, ``'stages'`` or ``'blocks'``.
        out_indices: Which of them give an output, an integer or a sequence; negative ones count from the end.
        frozen_stages: -1 freezes nothing, 0 what is before the first, ``n`` also the first ``n``.
        norm_eval: Whether batch norms keep their running statistics fixed in training.
        init_cfg: MMEngine's initialization config, a dict or a list of them.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    default_init_cfg: Sequence[Mapping[str, Any]] = ()
    init_cfg: InitConfig
    pretrained_init: type[PretrainedInit] = ReportedInit

    def __init__(
        self,
        num_outputs: int,
        unit: str,
        out_indices: int | Sequence[int],
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: InitConfig,
    ) -> None:
        if init_cfg is None:
            init_cfg = [dict(cfg) for cfg in self.default_init_cfg]
        super().__init__(init_cfg=copy.deepcopy(init_cfg))
        self.out_indices = resolve_indices('out_indices', out_indices, num_outputs, unit)
        self.frozen_stages = check_int('frozen_stages', frozen_stages, -1, num_outputs)
        self.norm_eval = norm_eval

    def _finish(self) -> None:
        """Initialize and freeze; the last step of a constructor."""
        initialize(self, [dict(cfg) for cfg in self.default_init_cfg])
        self._init_parts()
        self._freeze_stages()

    def _add_output_norms(self, channels: Sequence[int], norm_cfg: Mapping[str, Any], ndim: int) -> None:
        """Add ``norm{i}`` for each of ``out_indices``; see :func:`~mmhyena.backbones.norms.build_norm`."""
        for i in self.out_indices:
            self.add_module(f'norm{i}', build_norm(norm_cfg, channels[i], ndim))

    def _init_parts(self) -> None:
        """Initialize what ``init_cfg`` cannot name."""
        for module in self.modules():
            if isinstance(module, TokenMixer):
                module.init_weights()

    def init_weights(self) -> None:
        """Initialize as MMEngine does: ``init_cfg``, then the parts' own ways, then pretrained weights if any."""
        given = self.init_cfg
        configs = [given] if isinstance(given, Mapping) else list(given or ())
        pretrained = [cfg for cfg in configs if cfg['type'] in ('Pretrained', PretrainedInit)]
        self.init_cfg = [cfg for cfg in configs if cfg not in pretrained]
        self.init_cfg += [dict(type=_PartsInit), *(dict(cfg, type=self.pretrained_init) for cfg in pretrained)]
        try:
            super().init_weights()
        finally:
            self.init_cfg = given

    def resize_weights(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Resample tensors of other sizes to this backbone's; return all tensors, and a note per resampled name."""
        return resize_filters(state, {name: tuple(value.shape) for name, value in self.state_dict().items()})

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        adapt_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _checkpoint_filter(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Translate an official classifier in place, before an ``ImageClassifier`` loads it."""
        if prefix == '' and (family := find_family(state_dict)):
            converted = family.convert(state_dict, self)
            state_dict.clear()
            state_dict.update(converted)

    def _frozen_modules(self) -> Iterable[nn.Module]:
        """Return the modules that do not train: those of ``frozen_stages``, and those behind the last output.

        Nothing uses the latter. Distributed training would wait for gradients that never come.
        """
        raise NotImplementedError

    def _freeze_stages(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> BaseBackbone:
        """Set the mode; frozen stages stay in evaluation mode, and so do batch norms if ``norm_eval``."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


class PlainBackbone(BaseBackbone):
    """Base of the backbones with ``patch_embed`` and one list of blocks of the same width, ``layers``."""

    patch_embed: nn.Module
    layers: nn.ModuleList

    def _frozen_modules(self) -> Iterable[nn.Module]:
        if self.frozen_stages >= 0:
            yield self.patch_embed
            yield from self.layers[: self.frozen_stages]
        yield from self.layers[self.out_indices[-1] + 1 :]

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the layer that a parameter belongs to, and the number of layers, for layer-wise learning rates.

        Patches and positions are layer 0, blocks are 1 to ``num_layers``; norms, necks and heads come after.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What stands before this backbone's own names, such as ``'backbone.'``.
        """
        depth = len(self.layers) + 2
        if not param_name.startswith(prefix):
            return depth - 1, depth
        kind, *rest = param_name[len(prefix) :].split('.')
        if kind in ('cls_token', 'pos_embed', 'patch_embed'):
            return 0, depth
        return (int(rest[0]) + 1 if kind == 'layers' else depth - 1), depth


class _PartsInit(BaseInit):
    """The step of :meth:`BaseBackbone.init_weights` between ``init_cfg`` and pretrained weights."""

    def __call__(self, module: BaseBackbone) -> None:
        module._init_parts()
        update_init_info(module, init_info=f'Initialized by {type(module).__name__} and its token mixers')


def drop_path_rates(drop_path_rate: float, num_blocks: int, schedule: str = 'linear') -> list[float]:
    """Return the rate of stochastic depth of each block.

    Args:
        drop_path_rate: Rate of the last block.
        num_blocks: Number of blocks.
        schedule: ``'linear'``, rising from 0 at the first block, or ``'constant'``.

    Raises:
        ValueError: If ``drop_path_rate`` is not from 0 to below 1, or the schedule is unknown.
    """
    rate = check_rate('drop_path_rate', drop_path_rate)
    if check_choice('drop_path_schedule', schedule, ('linear', 'constant')) == 'constant':
        return [rate] * num_blocks
    return [rate * i / max(num_blocks - 1, 1) for i in range(num_blocks)]
