"""The long convolution as a module: filter, window and skip, and the kernel that they make."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmhyena.layers.filters.resample import tap_spacing
from mmhyena.layers.kernel_cache import TensorCache, tensors_of
from mmhyena.ops import (
    PreparedKernel,
    current_backend,
    is_compiling,
    is_exporting,
    long_conv,
    pack_kernel,
    prepare_kernel,
    prepared_long_conv,
)
from mmhyena.registry import MODELS

__all__ = ['LongConv']


class LongConv(nn.Module):
    """Depthwise convolution with a kernel as large as the map, ``y = K * u + skip u``.

    The kernel is the same for every image. It is computed in float32 outside autocast: once a step in training, once
    per version of the weights when they need no gradient.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        filter: Config of the filter, built with ``channels`` and ``kernel_size``; ``filter(size)`` gives
            ``(C, *size)``.
        window: Config of the window, built likewise; maps ``(C, *size)`` to the same shape. None for none.
        causal: Whether an output sees only what lies at or before it on every axis.
        filter_resize: Whether the kernel is resampled to cover the map at hand, ``2 * size - 1`` taps an axis. False
            keeps the taps of training, which is what the official code does: on a larger map it is no longer global.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int],
        filter: dict,
        window: dict | None = None,
        causal: bool = False,
        filter_resize: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = tuple(kernel_size)
        self.causal = causal
        self.filter_resize = filter_resize
        size_args = dict(channels=channels, kernel_size=self.kernel_size)
        self.filter = MODELS.build(dict(filter, **size_args))
        self.window = None if window is None else MODELS.build(dict(window, **size_args))
        self.skip = nn.Parameter(torch.randn(channels))
        self._cache = TensorCache()

    def train(self, mode: bool = True) -> LongConv:
        """Set the mode; cached kernels are forgotten, since weights are swapped between training and evaluation."""
        self._cache.clear()
        return super().train(mode)

    def kernel(self, spatial: Sequence[int]) -> Tensor:
        """Return the differentiable kernel ``(C, *kernel)`` for maps of size ``spatial``."""
        size = self.kernel_size
        if self.filter_resize:
            size = tuple(n if self.causal else 2 * n - 1 for n in spatial)
        with torch.autocast(device_type=self.skip.device.type, enabled=False):
            kernel = self.filter(size)
            if self.window is not None:
                kernel = self.window(kernel)
            if size != self.kernel_size:
                kernel = kernel * tap_spacing(self.kernel_size, size)
        return kernel

    def _prepared(self, spatial: tuple[int, ...], dtype: torch.dtype) -> PreparedKernel:

        def make_kernel() -> PreparedKernel:
            kernel = self.kernel(spatial)
            return pack_kernel(prepare_kernel(kernel, self.skip, spatial, causal=self.causal, dtype=dtype))

        return self._cache.get((spatial, dtype, current_backend()), tensors_of(self), make_kernel)

    def forward(self, u: Tensor, kernel: Tensor | None = None) -> Tensor:
        """Convolve ``u`` ``(B, C, *spatial)``; ``kernel`` is one made by :meth:`kernel` before, if any."""
        if kernel is None and self._is_constant():
            dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
            return prepared_long_conv(u, self._prepared(tuple(u.shape[2:]), dtype))
        if kernel is None:
            kernel = self.kernel(u.shape[2:])
        return long_conv(u, kernel, self.skip, causal=self.causal)

    def _is_constant(self) -> bool:
        if self.training or is_compiling() or is_exporting():
            return False
        return not (torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()))
