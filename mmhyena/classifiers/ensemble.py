"""Several classifiers as one: the mean of their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.models.classifiers import BaseClassifier, TimmClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmhyena.checkpoints import compare, find_family, read_checkpoint, unwrap
from mmhyena.errors import name_checkpoint
from mmhyena.registry import MODELS

__all__ = ['EnsembleClassifier']


@MODELS.register_module()
class EnsembleClassifier(BaseClassifier):
    """The mean of the logits of several classifiers on the same images.

    The official HyenaPixel code (arXiv 2402.19305) evaluates two such ensembles: convformer_s18 of timm with
    hpx_former_s18, and both with hb_former_s18 and caformer_s18.

    Args:
        members: Configs of mmpretrain classifiers, ``ImageClassifier`` or ``TimmClassifier`` with a ``model_name`` of
            timm, at least two. A member's ``init_cfg=dict(type='Pretrained', checkpoint=FILE_OR_ADDRESS)`` names its
            weights, official ones of this package's families, timm's or ours; every tensor has to fit.
        head: Config of an mmpretrain head without layers, for loss and predictions; ``ClsHead`` if None.
        data_preprocessor: Config of the preprocessing of all members, ``ClsDataPreprocessor`` by default.
        init_cfg: MMEngine's initialization config of the ensemble.

    Raises:
        ValueError: If there are fewer than two members.
    """

    def __init__(
        self,
        members: Sequence[Mapping[str, Any]],
        head: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        preprocessor = dict(type='mmpretrain.ClsDataPreprocessor') | dict(data_preprocessor or {})
        super().__init__(init_cfg=init_cfg, data_preprocessor=preprocessor)
        if len(members) < 2:
            raise ValueError(f'an ensemble needs at least two members, got {len(members)}')
        self.checkpoints = [_checkpoint(member) for member in members]
        configs = [dict(member) for member in members]
        for config, checkpoint in zip(configs, self.checkpoints):
            if checkpoint is not None:  # left to load_members, which is strict
                del config['init_cfg']
        self.members = nn.ModuleList(MMPRETRAIN_MODELS.build(config) for config in configs)
        self.head = MMPRETRAIN_MODELS.build(dict(head or dict(type='ClsHead')))
        self._register_load_state_dict_pre_hook(self._take_names_as_saved)

    def _take_names_as_saved(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Take ``model.`` from the names of timm's members, in place.

        mmpretrain's ``TimmClassifier`` saves its weights without ``model.`` and puts it before every name it loads. As
        part of another module it is saved with ``model.``, since torch ignores what hooks of children return.
        """
        for i, member in enumerate(self.members):
            if isinstance(member, TimmClassifier):
                own = f'{prefix}members.{i}.'
                for name in [name for name in state_dict if name.startswith(f'{own}model.')]:
                    state_dict[own + name.removeprefix(f'{own}model.')] = state_dict.pop(name)

    def init_weights(self) -> None:
        """Initialize as MMEngine does, then load the checkpoints of the members."""
        super().init_weights()
        self.load_members()

    def load_members(self) -> None:
        """Load the checkpoints that the members' ``init_cfg`` names.

        Raises:
            CheckpointError: If a file cannot be read or a tensor does not fit.
        """
        for i, (member, checkpoint) in enumerate(zip(self.members, self.checkpoints)):
            if checkpoint is None:
                continue
            with name_checkpoint(checkpoint):
                state, wrapper = unwrap(read_checkpoint(checkpoint))
            if family := find_family(state):
                state = family.convert(state, member)
            shapes = {name: tuple(value.shape) for name, value in member.state_dict().items()}
            compare(state, shapes).require_fit(checkpoint, f'member {i} of the ensemble')
            member.load_state_dict(state)
            print_log(f'member {i} of the ensemble: loaded {checkpoint} ({wrapper})', logger='current')

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the logits ``(B, num_classes)`` of every member for images ``(B, C, H, W)``.

        Raises:
            ValueError: If the members have different numbers of classes.
        """
        logits = tuple(member(inputs, mode='tensor') for member in self.members)
        if len({scores.shape[-1] for scores in logits}) > 1:
            raise ValueError(f'members have different numbers of classes: {[scores.shape[-1] for scores in logits]}')
        return logits

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | list[DataSample] | dict[str, Tensor]:
        """Return the mean of the logits, predictions or losses.

        Args:
            inputs: Images ``(B, C, H, W)``.
            data_samples: Annotations; required by ``'loss'``.
            mode: ``'tensor'`` for logits ``(B, num_classes)``, ``'predict'`` or ``'loss'``.

        Raises:
            ValueError: If ``mode`` is none of these.
        """
        logits = torch.stack(self.extract_feat(inputs)).mean(0)
        if mode == 'tensor':
            return logits
        if mode == 'predict':
            return self.head._get_predictions(logits, data_samples)
        if mode == 'loss':
            return self.head._get_loss(logits, data_samples)
        raise ValueError(f"mode must be 'tensor', 'predict' or 'loss', got {mode!r}")

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return layer 0 of 1 for every parameter: all members train at one learning rate."""
        return 0, 1


def _checkpoint(member: Mapping[str, Any]) -> str | None:
    init_cfg = member.get('init_cfg')
    if isinstance(init_cfg, Mapping) and init_cfg.get('type') == 'Pretrained':
        return str(init_cfg['checkpoint'])
    return None
