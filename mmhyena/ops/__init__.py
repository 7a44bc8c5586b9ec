"""Tensor math: the long convolution, its reference implementation and its backends. Needs torch and numpy alone."""

from mmhyena.ops.backends import BACKENDS, current_backend, use_backend
from mmhyena.ops.constants import constant
from mmhyena.ops.cpu.depthwise import depthwise_conv, depthwise_conv_channels_last, unpadded_depthwise_conv
from mmhyena.ops.cpu.mlp import (
    add_residual,
    fold_star_relu,
    linear,
    norm_mlp_residual,
    pack_weight,
    star_relu,
    star_relu_mlp,
    store_by_columns_,
)
from mmhyena.ops.cpu.tiles import map_tiles, needs_tiles, row_tiles
from mmhyena.ops.long_conv import (
    PreparedKernel,
    choose_prepared_backend,
    long_conv,
    prepare_kernel,
    prepared_long_conv,
)
from mmhyena.ops.mode import (
    autocast_dtype,
    is_compiling,
    is_dynamo_compiling,
    is_exporting,
    is_inference,
    is_ordinary,
    no_autocast,
    no_dispatch,
)
from mmhyena.ops.naive import naive_depthwise_conv, naive_long_conv, naive_star_relu_mlp

__all__ = [
    'BACKENDS',
    'PreparedKernel',
    'add_residual',
    'autocast_dtype',
    'choose_prepared_backend',
    'constant',
    'current_backend',
    'depthwise_conv',
    'depthwise_conv_channels_last',
    'fold_star_relu',
    'is_compiling',
    'is_dynamo_compiling',
    'is_exporting',
    'is_inference',
    'is_ordinary',
    'linear',
    'long_conv',
    'map_tiles',
    'naive_depthwise_conv',
    'naive_long_conv',
    'naive_star_relu_mlp',
    'needs_tiles',
    'no_autocast',
    'no_dispatch',
    'norm_mlp_residual',
    'pack_weight',
    'prepare_kernel',
    'prepared_long_conv',
    'row_tiles',
    'star_relu',
    'star_relu_mlp',
    'store_by_columns_',
    'unpadded_depthwise_conv',
    'use_backend',
]
