"""Backbones with multi-scale features. Needs torch and mmengine alone."""

from .hyena_former import HyenaFormer
from .hyena_swin import HyenaSwin
from .hyena_vit import HyenaViT
from .hyena_volume import HyenaVolume

__all__ = ['HyenaFormer', 'HyenaSwin', 'HyenaViT', 'HyenaVolume']
