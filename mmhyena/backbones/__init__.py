"""Backbones with multi-scale features. Needs torch and mmengine alone."""

from .hyena_former import HyenaFormer
from .hyena_swin import HyenaSwin
from .hyena_vit import HyenaViT

__all__ = ['HyenaFormer', 'HyenaSwin', 'HyenaViT']
