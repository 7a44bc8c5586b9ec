"""Tensor math: the long convolution, its definition and its fast forms. Needs torch alone."""

from .long_conv import PreparedKernel, long_conv, prepare_kernel, prepared_long_conv
from .naive import naive_long_conv

__all__ = ['PreparedKernel', 'long_conv', 'naive_long_conv', 'prepare_kernel', 'prepared_long_conv']
