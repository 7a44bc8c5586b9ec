"""Token mixers, their filters and windows, and the blocks around them. Needs torch and mmengine alone."""

from .attention import Attention
from .bidirectional_hyena import BidirectionalHyena
from .feature_pyramid import SimpleFeaturePyramid
from .filters import DirectFilter, ImplicitFilter, JointFilter, ProductFilter
from .hyena_nd import HyenaND
from .hyena_pixel import HyenaPixel
from .learned_mask_attention import LearnedMaskAttention
from .long_conv import LongConv
from .metaformer import Downsample, MetaFormerBlock
from .nd_directions import (
    AlternatingDirection,
    CausalDirection,
    CenteredDirection,
    FourWayDirection,
    ParallelDirection,
)
from .positions import AxialPosition, ComplexExponentialPosition, SinCosPosition
from .sep_conv import SepConv
from .token_mixer import TokenMixer
from .vit import ViTBlock
from .windowed_mixer import WindowedMixer
from .windows import BidirectionalWindow, ExponentialWindow, RadialWindow, SymmetricWindow

__all__ = [
    'AlternatingDirection',
    'Attention',
    'AxialPosition',
    'BidirectionalHyena',
    'BidirectionalWindow',
    'CausalDirection',
    'CenteredDirection',
    'ComplexExponentialPosition',
    'DirectFilter',
    'Downsample',
    'ExponentialWindow',
    'FourWayDirection',
    'HyenaND',
    'HyenaPixel',
    'ImplicitFilter',
    'JointFilter',
    'LearnedMaskAttention',
    'LongConv',
    'MetaFormerBlock',
    'ParallelDirection',
    'ProductFilter',
    'RadialWindow',
    'SepConv',
    'SimpleFeaturePyramid',
    'SinCosPosition',
    'SymmetricWindow',
    'TokenMixer',
    'ViTBlock',
    'WindowedMixer',
]
