"""Backbones with multi-scale features. Needs torch and mmengine alone."""

from .hyena_former import HyenaFormer

__all__ = ['HyenaFormer']
