"""The classification head of the MetaFormer baselines."""

from __future__ import annotations

from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from mmhyena.layers.metaformer import SquaredReLU
from mmhyena.registry import MODELS

__all__ = ['MetaFormerClsHead']


@MODELS.register_module()
class MetaFormerClsHead(ClsHead):
    """Two-layer classifier: linear, squared ReLU, norm, dropout, linear (arXiv 2210.13452, section 2.4).

    Takes pooled and normalized features ``(B, C)`` from a backbone with ``gap_before_final_norm``.

    Args:
        num_classes: Number of classes.
        in_channels: Channels C of the last feature.
        ratio: Width of the hidden layer in multiples of C.
        dropout: Dropout before the last layer.
        init_cfg: MMEngine's initialization config; truncated normal of 0.02 if None.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's ``ClsHead``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        ratio: int = 4,
        dropout: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(init_cfg=init_cfg or dict(type='TruncNormal', layer='Linear', std=0.02), **kwargs)
        self.fc1 = nn.Linear(in_channels, ratio * in_channels)
        self.act = SquaredReLU()
        self.norm = nn.LayerNorm(ratio * in_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(ratio * in_channels, num_classes)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return what the last layer reads, ``(B, ratio * C)``."""
        return self.dropout(self.norm(self.act(self.fc1(feats[-1]))))

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the logits ``(B, num_classes)``."""
        return self.fc2(self.pre_logits(feats))
