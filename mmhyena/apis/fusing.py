"""Fusing a model for inference on a CPU."""

from __future__ import annotations

from mmengine.logging import print_log
from torch import nn

from mmhyena.layers.cpu_inference import FusionReport, fuse_blocks

__all__ = ['fuse_for_inference']


def fuse_for_inference(model: nn.Module) -> FusionReport:
    """Replace the MetaFormer blocks of ``model`` by fused ones that are faster on a CPU, in place, and log how many.

    On a CPU hpx_former_s18 gains a few percent on images of 224 x 224 and up to a third on 800 x 1344
    (docs/performance.md). A block is fused only if all its parts are what their constructors made: one with an adapter,
    a LayerScale, hooks or a replaced ``forward`` runs as before. Results are the same up to rounding.

    The model is put into evaluation mode and cannot be trained afterwards. The keys of its state dict stay, and weights
    loaded later take effect. Elsewhere than on a CPU and with gradients it runs as before.

    Under bfloat16 autocast fused blocks keep the residual path and all but the products in float32, and round each
    weight once: at least as accurate as autocast of their parts, and faster.

    Args:
        model: Any model; blocks are found at any depth.

    Returns:
        The names of the fused blocks and of those left, with the reasons.

    Examples:
        >>> report = fuse_for_inference(model)
        >>> len(report.fused), report.left
        (18, {})
    """
    report = fuse_blocks(model)
    print_log(str(report), logger='current')
    return report
