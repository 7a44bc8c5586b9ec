"""Token mixers, their filters and windows, and the blocks around them. Needs torch and mmengine alone."""

from mmhyena.layers.attention import Attention
from mmhyena.layers.depthwise_mixer import DepthwiseMixer
from mmhyena.layers.filters import (
    AxialPosition,
    BidirectionalWindow,
    ComplexExponentialPosition,
    DirectFilter,
    ExponentialWindow,
    ImplicitFilter,
    JointFilter,
    ProductFilter,
    RadialWindow,
    SinCosPosition,
    SymmetricWindow,
)
from mmhyena.layers.hyena import BidirectionalHyena, HyenaPixel
from mmhyena.layers.hyena_nd import HyenaND
from mmhyena.layers.kernel_cache import kernel_cache_bytes, set_kernel_cache_limit
from mmhyena.layers.learned_mask_attention import LearnedMaskAttention
from mmhyena.layers.long_conv import LongConv
from mmhyena.layers.metaformer import Downsample, MetaFormerBlock
from mmhyena.layers.nd_directions import (
    AlternatingDirection,
    CausalDirection,
    CenteredDirection,
    FourWayDirection,
    ParallelDirection,
)
from mmhyena.layers.sep_conv import SepConv
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.layers.vit import ViTBlock
from mmhyena.layers.windowed_mixer import WindowedMixer

__all__ = [
    'AlternatingDirection',
    'Attention',
    'AxialPosition',
    'BidirectionalHyena',
    'BidirectionalWindow',
    'CausalDirection',
    'CenteredDirection',
    'ComplexExponentialPosition',
    'DepthwiseMixer',
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
    'SinCosPosition',
    'SymmetricWindow',
    'TokenMixer',
    'ViTBlock',
    'WindowedMixer',
    'kernel_cache_bytes',
    'set_kernel_cache_limit',
]
