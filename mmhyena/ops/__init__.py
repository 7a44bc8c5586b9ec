"""Tensor math: the long convolution, its definition and its fast forms. Needs torch alone."""

from mmhyena.ops.backends import BACKENDS, current_backend, use_backend
from mmhyena.ops.cpu.depthwise import depthwise_conv, unpadded_depthwise_conv
from mmhyena.ops.cpu.mlp import add_residual, linear, norm_mlp_residual, star_relu, star_relu_mlp
from mmhyena.ops.cpu.tiles import map_tiles, needs_tiles, row_tiles
from mmhyena.ops.long_conv import PreparedKernel, long_conv, pack_kernel, prepare_kernel, prepared_long_conv
from mmhyena.ops.mode import autocast_dtype, is_compiling, is_exporting, records_nothing
from mmhyena.ops.naive import naive_depthwise_conv, naive_long_conv, naive_star_relu_mlp
from mmhyena.ops.triton.gated_conv import gated_long_conv

__all__ = [
    'BACKENDS',
    'PreparedKernel',
    'add_residual',
    'autocast_dtype',
    'records_nothing',
    'current_backend',
    'depthwise_conv',
    'gated_long_conv',
    'is_compiling',
    'is_exporting',
    'linear',
    'long_conv',
    'map_tiles',
    'naive_depthwise_conv',
    'naive_long_conv',
    'naive_star_relu_mlp',
    'needs_tiles',
    'norm_mlp_residual',
    'pack_kernel',
    'prepare_kernel',
    'prepared_long_conv',
    'row_tiles',
    'star_relu',
    'star_relu_mlp',
    'unpadded_depthwise_conv',
    'use_backend',
]
