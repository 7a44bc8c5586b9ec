"""The long convolution as a module: filter, window and skip, and the kernel that they make.

The kernel of channel ``c`` at displacement ``d`` is a function of the weights alone::

    k_c(d) = window_c(d) * filter_c(d),        y = k * u + skip u

In training it is made once per step. When no gradient reaches the weights it is kept, in two levels
(:mod:`mmhyena.layers.kernel_cache`)::

    weights --filter, window--> kernel (C, *kernel) --crop, transform--> spectrum --* map--> y
              once per version                        once per map size

so that a map size seen for the first time costs the transform and no filter network. With ``filter_resize`` the kernel
itself depends on the map size.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import count
from typing import Any, Literal
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from mmhyena.layers.filters.resample import tap_spacing
from mmhyena.layers.kernel_cache import KernelCache, tensors_of
from mmhyena.ops import (
    PreparedKernel,
    choose_prepared_backend,
    current_backend,
    is_dynamo_compiling,
    is_exporting,
    is_ordinary,
    long_conv,
    no_autocast,
    no_dispatch,
    prepare_kernel,
    prepared_long_conv,
)
from mmhyena.registry import MODELS

__all__ = ['FilterResize', 'Kernels', 'LongConv']

logger = logging.getLogger('mmhyena')

# Kernel (C, *kernel) and skip (C,) of every convolution of a module.
Kernels = list[tuple[Tensor, Tensor]]

# Whether and how a kernel follows the size of the feature map, see LongConv.
FilterResize = bool | Literal['extend']


class LongConv(nn.Module):
    """Depthwise convolution with a kernel as large as the feature map, ``y = K * u + skip u``.

    The kernel is the same for every image and computed in float32 outside autocast.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on each axis.
        filter: Config of the filter, built with ``channels`` and ``kernel_size``; ``filter(size)`` gives
            ``(C, *size)``.
        window: Config of the window, built likewise; maps ``(C, *size)`` to the same shape. None for none.
        causal: Whether an output sees only what lies at or before it on every axis.
        filter_resize: Whether and how the kernel covers the map at hand, ``2 * size - 1`` taps per axis. False keeps
            the taps of training, which is what the official code does: on a larger map it is no longer global. True
            resamples the kernel, which is right where objects grow with the map, as in classification: its pattern is
            stretched. ``'extend'`` keeps the spacing of the taps and evaluates filter and window beyond the kernel of
            training, which is right where a larger map shows more surroundings; on a smaller map the taps stay.

    Raises:
        ValueError: If ``filter_resize`` is none of these.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int],
        filter: dict,
        window: dict | None = None,
        causal: bool = False,
        filter_resize: FilterResize = False,
    ) -> None:
        super().__init__()
        if filter_resize not in (False, True, 'extend'):
            raise ValueError(f"filter_resize must be False, True or 'extend', got {filter_resize!r}")
        self.kernel_size = tuple(kernel_size)
        self.causal = causal
        self.filter_resize = filter_resize
        size_args = dict(channels=channels, kernel_size=self.kernel_size)
        self.filter = MODELS.build(dict(filter, **size_args))
        self.window = None if window is None else MODELS.build(dict(window, **size_args))
        self.skip = nn.Parameter(torch.randn(channels))
        self._cache = KernelCache()
        self._register()

    def _register(self) -> None:
        self._handle = next(_handles)
        _modules[self._handle] = self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._register()

    def train(self, mode: bool = True) -> LongConv:
        """Set the mode and forget cached kernels, since weights are swapped between training and evaluation."""
        self._cache.clear()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> LongConv:
        self._cache.clear()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._cache.clear()
        super()._load_from_state_dict(*args, **kwargs)

    @property
    def convolves_causally(self) -> bool:
        """Whether displacement 0 is at the first tap of :meth:`kernels`, as it is at that of :meth:`kernel`."""
        return self.causal

    def _size(self, spatial: Sequence[int]) -> tuple[int, ...]:
        if not self.filter_resize:
            return self.kernel_size
        size = tuple(n if self.causal else 2 * n - 1 for n in spatial)
        if self.filter_resize != 'extend':
            return size
        # Taps are added in pairs, so that the center stays.
        pair = 1 if self.causal else 2
        return tuple(old + -(-max(new - old, 0) // pair) * pair for old, new in zip(self.kernel_size, size))

    def kernel(self, spatial: Sequence[int]) -> Tensor:
        """Return the differentiable kernel ``(C, *kernel)`` for maps of size ``spatial``."""
        size = self._size(spatial)
        with no_autocast(self.skip.device):
            if size == self.kernel_size:
                kernel = self.filter(size)
                return kernel if self.window is None else self.window(kernel)
            extend = self.filter_resize == 'extend'
            kernel = self.filter(size, extend=True) if extend else self.filter(size)
            if self.window is not None:
                kernel = self.window(kernel, extend=True) if extend else self.window(kernel)
            return kernel if extend else kernel * tap_spacing(self.kernel_size, size)

    def kernels(self, spatial: Sequence[int]) -> Kernels:
        """Return differentiable kernel and skip of every convolution of this module, here of the only one."""
        return [(self.kernel(spatial), self.skip)]

    def forward(
        self, u: Tensor, kernel: Tensor | None = None, *, pre: Tensor | None = None, post: Tensor | None = None
    ) -> Tensor:
        """Return ``post * (K * (pre * u) + skip (pre * u))``.

        Args:
            u: Feature map ``(B, C, *spatial)``.
            kernel: Result of :meth:`kernel`, if it was made before.
            pre: Gate before the convolution, shape of ``u``, or None.
            post: Gate after it, shape of ``u``, or None.
        """
        return self.convolve(u, 0, None if kernel is None else [(kernel, self.skip)], pre, post)

    def convolve(
        self,
        u: Tensor,
        step: int = 0,
        kernels: Kernels | None = None,
        pre: Tensor | None = None,
        post: Tensor | None = None,
    ) -> Tensor:
        """Run the convolution ``step`` of this module with ``kernels``, or else with kept or newly made ones."""
        if kernels is None and self.is_constant():
            if not (torch.is_grad_enabled() and u.requires_grad):
                return self._convolve_constant(u, step, pre, post)
            kernels = None if is_dynamo_compiling() else self._kept_kernels(u)
        kernel, skip = (self.kernels(u.shape[2:]) if kernels is None else kernels)[step]
        return long_conv(u, kernel, skip, pre=pre, post=post, causal=self.convolves_causally)

    def is_constant(self) -> bool:
        """Whether no gradient reaches the weights, so that kernels may be kept: in evaluation alone."""
        if self.training:
            return False
        return not (torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()))

    def _convolve_constant(self, u: Tensor, step: int, pre: Tensor | None, post: Tensor | None) -> Tensor:
        if not is_dynamo_compiling():
            return prepared_long_conv(u, self._prepared(u, step), pre=pre, post=post)
        if is_exporting() or not hasattr(torch.library, 'custom_op'):  # the graph makes the kernel
            kernel, skip = self.kernels(u.shape[2:])[step]
            return long_conv(u, kernel, skip, pre=pre, post=post, causal=self.convolves_causally)
        x = u if pre is None else pre * u
        y = torch.ops.mmhyena.constant_long_conv(x, self._handle, step, current_backend())
        return y if post is None else post * y

    def _kept_kernels(self, u: Tensor) -> Kernels:
        """Return the first level: constant kernels and skips for maps like ``u``."""
        spatial = tuple(map(int, u.shape[2:]))
        key = 'kernels', self._size(spatial)
        if is_exporting() and (kept := self._cache.peek(key)) is not None:
            return kept
        sources = tensors_of(self)

        def make() -> Kernels:
            return [(_without(sources, kernel), skip.clone()) for kernel, skip in self.kernels(spatial)]

        return self._cache.get(key, sources, make, is_costly=not self.filter_resize)

    def _prepared(self, u: Tensor, step: int, backend: str | None = None) -> PreparedKernel:
        """Return the second level: the transformed kernel of a step for maps like ``u``."""
        spatial = tuple(map(int, u.shape[2:]))
        backend = choose_prepared_backend(u, self._taps(spatial), self.convolves_causally, backend)
        dtype = u.dtype if u.dtype == torch.float64 else torch.float32
        key = 'prepared', step, spatial, dtype, backend

        def make() -> PreparedKernel:
            kernel, skip = self._kept_kernels(u)[step]
            return prepare_kernel(kernel, skip, spatial, causal=self.convolves_causally, dtype=dtype, backend=backend)

        if is_exporting():
            return self._exported(key, spatial, make)
        return self._cache.get(key, tensors_of(self), make)

    def _taps(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the taps on each axis of :meth:`kernels`."""
        return self._size(spatial)

    def _exported(self, key: tuple, spatial: tuple[int, ...], make: Any) -> PreparedKernel:
        """Return kept kernels as constants of an exported graph, whose weights have no values while it is traced."""
        prepared = self._cache.peek(key)
        if prepared is not None:
            return prepared
        if self._cache.peek(('kernels', self._size(spatial))) is not None:
            with no_dispatch(), torch.no_grad():
                return make()
        logger.warning('run the model once before it is exported: kernels not yet made are computed in every call')
        return make()


def _without(sources: Sequence[Tensor], kernel: Tensor) -> Tensor:
    """Return ``kernel``, or a copy if it lies in the memory of one of ``sources``, whose values may change."""
    memory = kernel.untyped_storage().data_ptr() if is_ordinary(kernel) else None
    is_own = memory is not None and all(memory != source.untyped_storage().data_ptr() for source in sources)
    return kernel if is_own else kernel.clone()


_handles = count()
_modules: WeakValueDictionary[int, LongConv] = WeakValueDictionary()

if hasattr(torch.library, 'custom_op'):  # torch >= 2.4

    @torch.library.custom_op('mmhyena::constant_long_conv', mutates_args=())
    def _constant_long_conv(u: Tensor, handle: int, step: int, backend: str | None) -> Tensor:
        """Convolve with the kept kernel of a module, which a compiled graph does not make but look up."""
        module = _modules[handle]
        return prepared_long_conv(u, module._prepared(u, step, backend)).contiguous()

    @_constant_long_conv.register_fake
    def _(u: Tensor, handle: int, step: int, backend: str | None) -> Tensor:
        return u.new_empty(u.shape)
