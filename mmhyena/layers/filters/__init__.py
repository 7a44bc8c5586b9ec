"""What makes the kernel of a long convolution: positional encodings, filter networks, decay windows."""

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
