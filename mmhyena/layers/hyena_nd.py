"""Hyena N-D: gated long convolutions over one, two or three axes.

With ``order`` gates and ``order - 1`` long convolutions (arXiv 2309.13600, section 3)::

    x_0, x_1, .., x_{order-1}, v = split(short_conv(in_proj(x)))       short_conv: depthwise, 3 taps per axis
    v <- k_i * (x_i . v)           for i = order - 1, .., 1             k_i: long, all axes at once
    y  = out_proj(x_0 . v)

In 2-D, a one-sided kernel sees only pixels above and to the left. The *direction* decides how a mixer, or a stack of
mixers, sees the rest: flipped kernels in every other block, the sum of all ``2 ** ndim`` flips, one branch per flip, or
one centered kernel. Kernels are flipped and not feature maps, which is equivalent. Each flip that needs a convolution
of its own is a *branch*::

    (B, C, *spatial) --expand--> (B, branches, C, *spatial) --k--> the same --merge--> (B, *spatial, C')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmhyena.layers.build import complete
from mmhyena.layers.long_conv import FilterResize, Kernels, LongConv
from mmhyena.layers.nd_directions import Direction
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.ops import no_autocast
from mmhyena.registry import MODELS

__all__ = ['DirectionalLongConv', 'HyenaND']

_FILTERS = {
    'joint': dict(type='JointFilter'),
    'product': dict(type='ProductFilter'),
    'direct': dict(type='DirectFilter'),
}
_WINDOWS: dict[str, dict | None] = {
    'standard': dict(type='ExponentialWindow'),
    'sqrt': dict(type='ExponentialWindow', sqrt=True),
    'learned': dict(type='ExponentialWindow', learnable=True),
    'symmetric': dict(type='SymmetricWindow'),
    'none': None,
}
_DIRECTIONS = {
    'causal': dict(type='CausalDirection'),
    'alternating': dict(type='AlternatingDirection'),
    'four_way': dict(type='FourWayDirection'),
    'parallel': dict(type='ParallelDirection'),
    'centered': dict(type='CenteredDirection'),
}
_CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def _part(kind: str, part: str | dict | None, names: Mapping[str, dict | None], **args: object) -> dict[str, Any]:
    """Return the config of a part, given as such or by its name, with those of ``args`` that the class takes."""
    config = names.get(part) if isinstance(part, str) else part
    if config is None:
        raise ValueError(f'{kind} {part!r} is unknown; choose one of {", ".join(names)}, or a config')
    return complete(config, **args)


class DirectionalLongConv(LongConv):
    """The ``order - 1`` long convolutions of a mixer, each in all branches of its direction.

    Filter, window and skip have ``(order - 1) * C`` channels, those of the first convolution first. Kernels initially
    have an L2 norm of 1, whatever the size of the feature map and the kind of filter.

    Args:
        channels: Number of channels C.
        map_size: Size of the feature maps that the filter is made for.
        order: Order of the mixer.
        filter: Config of the filter.
        window: Config of the window, or None.
        direction: The direction.
        filter_resize: Whether and how the kernel follows the feature map at hand.
    """

    def __init__(
        self,
        channels: int,
        map_size: Sequence[int],
        order: int,
        filter: dict,
        window: dict | None,
        direction: Direction,
        filter_resize: FilterResize,
    ) -> None:
        kernel_size = [2 * size - 1 if direction.centered else size for size in map_size]
        super().__init__(
            (order - 1) * channels,
            kernel_size,
            filter,
            window,
            causal=not direction.centered,
            filter_resize=filter_resize,
        )
        self.steps = order - 1
        self.direction = direction
        if hasattr(self.filter, 'scale_') and not self.skip.is_meta:
            with torch.no_grad():
                self.filter.scale_(1 / self.kernel(map_size).flatten(1).norm(dim=1).clamp_min(1e-6))

    def kernels(self, spatial: Sequence[int]) -> Kernels:
        """Return kernel ``(branches * C, *kernel)`` and skip ``(branches * C,)`` of every step."""
        kernel = self.kernel(spatial)
        with no_autocast(kernel.device):
            steps = zip(kernel.chunk(self.steps), self.skip.chunk(self.steps))
            return [self.direction.kernel(*tensors, step) for step, tensors in enumerate(steps)]

    @property
    def convolves_causally(self) -> bool:
        """Whether the direction leaves displacement 0 at the first tap."""
        return self.direction.causal

    def _taps(self, spatial: Sequence[int]) -> tuple[int, ...]:
        taps = super()._taps(spatial)  # a direction pads the kernels of a filter that looks one way
        return taps if self.direction.causal or self.direction.centered else tuple(2 * n - 1 for n in taps)

    def forward(  # type: ignore[override]  # one module for all steps, so a call says which
        self,
        u: Tensor,
        step: int = 0,
        kernels: Kernels | None = None,
        *,
        pre: Tensor | None = None,
        post: Tensor | None = None,
    ) -> Tensor:
        """Return ``post * (K * (pre * u))`` by the convolution of a step.

        Args:
            u: ``(B, branches, C, *spatial)``, as are the gates.
            step: Index of the convolution.
            kernels: Result of :meth:`kernels`, if they were made before.
            pre: Gate before the convolution, or None.
            post: Gate after it, or None.
        """
        pre, post = (None if gate is None else gate.flatten(1, 2) for gate in (pre, post))
        return self.convolve(u.flatten(1, 2), step, kernels, pre, post).unflatten(1, u.shape[1:3])


@MODELS.register_module()
class HyenaND(TokenMixer):
    """Gated long convolutions along one, two or three axes (Hyena N-D, arXiv 2309.13600, section 3).

    ``x_0, .., x_{order-1}, v = split(short_conv(in_proj(x)))``; then ``v = long_conv(x_i * v)`` for
    ``i = order - 1 .. 1``; ``y = out_proj(x_0 * v)``. There is no norm inside. The short convolution looks one pixel
    ahead, as in the official code, so a causal mixer sees one pixel further than its long convolution.

    Feature maps may have any size: filters and windows are functions of the normalized displacement, and learned tables
    are resampled. The official code runs square 2-D maps of exactly one size, and scales its convolution by
    ``1 / (2 * size)``; ours is the plain convolution (:func:`mmhyena.checkpoints.convert_official_nd` takes up the
    factor).

    Args:
        channels: Number of channels C.
        map_size: Size of the feature maps that the filter is made for, one integer for all axes or one for each.
        ndim: Number of axes, 1 to 3.
        order: Number of gates, at least 2; there are ``order - 1`` long convolutions.
        filter: ``'joint'``, ``'product'``, ``'direct'``, or the config of a filter.
        window: ``'standard'``, ``'sqrt'``, ``'learned'``, ``'symmetric'``, ``'none'``, or the config of a window.
            None is ``'none'`` for the direct filter and ``'standard'`` for the others.
        direction: ``'causal'``, ``'alternating'``, ``'four_way'``, ``'parallel'``, ``'centered'``, or the config of a
            direction.
        filter_width: Width of the filter network of a ``filter`` given by name.
        filter_resize: Whether and how the kernel follows the feature map at hand, see :class:`LongConv`. With False,
            larger feature maps have no taps for the largest displacements.
        dropout: Rate of dropout before each long convolution.
        block_index: Position of the block in its backbone, for ``'alternating'``. Backbones pass it.

    Raises:
        ValueError: If an argument is not one of the above, or an input has another number of axes.
    """

    def __init__(
        self,
        channels: int,
        map_size: int | Sequence[int],
        ndim: int = 2,
        order: int = 2,
        filter: str | dict = 'joint',
        window: str | dict | None = None,
        direction: str | dict = 'causal',
        filter_width: int = 64,
        filter_resize: FilterResize = True,
        dropout: float = 0.0,
        block_index: int = 0,
    ) -> None:
        super().__init__()
        if ndim not in _CONVS:
            raise ValueError(f'ndim must be 1, 2 or 3, got {ndim}')
        if order < 2:
            raise ValueError(f'order must be at least 2, got {order}')
        map_size = (map_size,) * ndim if isinstance(map_size, int) else tuple(map_size)
        if len(map_size) != ndim or min(map_size) < 1:
            raise ValueError(f'map_size must be {ndim} positive integers, got {map_size}')
        self.ndim = ndim
        direction = _part('direction', direction, _DIRECTIONS, block_index=block_index)
        flips: Direction = MODELS.build(dict(direction, channels=channels, ndim=ndim, order=order))
        if isinstance(filter, str):
            filter = _part('filter', filter, _FILTERS, width=filter_width)
        filter = _part('filter', filter, _FILTERS, centered=flips.centered)
        if window is None:
            window = 'none' if filter['type'] == 'DirectFilter' else 'standard'
        window_config = None
        if window != 'none':
            per_axis = filter['type'] == 'ProductFilter'
            window_config = _part('window', window, _WINDOWS, centered=flips.centered, per_axis=per_axis)

        inner = (order + 1) * channels
        self.in_proj = nn.Linear(channels, inner)
        self.short_conv = _CONVS[ndim](inner, flips.copies * inner, 3, padding=1, groups=inner)
        self.long_conv = DirectionalLongConv(channels, map_size, order, filter, window_config, flips, filter_resize)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(flips.out_branches * channels, channels)

    def init_weights(self) -> None:
        """Initialize the short convolution as torch does.

        Three gates multiply without a norm between them: the small weights of vision backbones would silence it.
        """
        self.short_conv.reset_parameters()

    def prepare(self, spatial: Sequence[int]) -> Kernels:
        """Return kernel and skip of every long convolution for maps of size ``spatial``."""
        return self.long_conv.kernels(spatial)

    def forward(self, x: Tensor, prepared: Kernels | None = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``, with the kernels of :meth:`prepare` if they were made before."""
        if x.dim() != self.ndim + 2:
            raise ValueError(f'HyenaND of {self.ndim} axes takes (B, *spatial, C), got shape {tuple(x.shape)}')
        direction = self.long_conv.direction
        projected = self.short_conv(self.in_proj(x).movedim(-1, 1))  # (B, copies * (order + 1) * C, *spatial)
        first, *gates, v = direction.split(projected)  # each (B, copies, C, *spatial)
        if prepared is None and not self.long_conv.is_constant():
            prepared = self.long_conv.kernels(x.shape[1:-1])  # once for all steps
        is_split = direction.branches == direction.copies  # every branch has gates of its own
        for step, gate in enumerate(reversed(gates)):
            post = first if is_split and step == len(gates) - 1 else None
            if is_split and not (self.training and self.dropout.p):
                v = self.long_conv(v, step, prepared, pre=gate, post=post)
            else:
                v = self.dropout(gate * v)
                v = v.expand(-1, direction.branches, *(-1,) * (v.dim() - 2))
                v = self.long_conv(v, step, prepared, post=post)
        y = v if is_split else first * v
        return self.out_proj(direction.merge(y.permute(0, *range(3, v.dim()), 1, 2)))  # (B, *spatial, C)
