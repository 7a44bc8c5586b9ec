"""Classifiers that mmpretrain lacks. Needs mmpretrain."""

from mmhyena.classifiers.ensemble import EnsembleClassifier

__all__ = ['EnsembleClassifier']
