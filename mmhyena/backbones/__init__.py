"""Backbones with multi-scale features. Needs torch and mmengine alone."""

from mmhyena.backbones.hyena_former import HyenaFormer
from mmhyena.backbones.hyena_swin import HyenaSwin
from mmhyena.backbones.hyena_vit import HyenaViT
from mmhyena.backbones.hyena_volume import HyenaVolume
from mmhyena.backbones.timm_backbone import TimmBackbone

__all__ = ['HyenaFormer', 'HyenaSwin', 'HyenaViT', 'HyenaVolume', 'TimmBackbone']
