"""Heads that the toolkits lack. Needs mmpretrain."""

from mmhyena.heads.metaformer_cls_head import MetaFormerClsHead

__all__ = ['MetaFormerClsHead']
