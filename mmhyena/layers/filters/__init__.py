"""Positional encodings, filter networks and decay windows: together they make the kernel of a long convolution."""

from mmhyena.layers.filters.filters import DirectFilter, ImplicitFilter, JointFilter, ProductFilter
from mmhyena.layers.filters.positions import AxialPosition, ComplexExponentialPosition, SinCosPosition
from mmhyena.layers.filters.windows import BidirectionalWindow, ExponentialWindow, RadialWindow, SymmetricWindow

__all__ = [
    'AxialPosition',
    'BidirectionalWindow',
    'ComplexExponentialPosition',
    'DirectFilter',
    'ExponentialWindow',
    'ImplicitFilter',
    'JointFilter',
    'ProductFilter',
    'RadialWindow',
    'SinCosPosition',
    'SymmetricWindow',
]
