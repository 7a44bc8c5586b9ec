"""Token mixers, their filters and windows, and the blocks around them. Needs torch and mmengine alone."""

from .attention import Attention
from .bidirectional_hyena import BidirectionalHyena
from .feature_pyramid import SimpleFeaturePyramid
from .filters import ImplicitFilter
from .hyena_pixel import HyenaPixel
from .learned_mask_attention import LearnedMaskAttention
from .long_conv import LongConv
from .metaformer import Downsample, MetaFormerBlock
from .positions import ComplexExponentialPosition, SinCosPosition
from .sep_conv import SepConv
from .token_mixer import TokenMixer
from .vit import ViTBlock
from .windows import BidirectionalWindow, RadialWindow

__all__ = [
    'Attention',
    'BidirectionalHyena',
    'BidirectionalWindow',
    'ComplexExponentialPosition',
    'Downsample',
    'HyenaPixel',
    'ImplicitFilter',
    'LearnedMaskAttention',
    'LongConv',
    'MetaFormerBlock',
    'RadialWindow',
    'SepConv',
    'SimpleFeaturePyramid',
    'SinCosPosition',
    'TokenMixer',
    'ViTBlock',
]
