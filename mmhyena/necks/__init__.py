"""Necks that the toolkits lack. Needs torch and mmengine alone."""

from mmhyena.necks.simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['SimpleFeaturePyramid']
