"""The long convolution by the FFT, with a backward that saves no spectrum.

``y = F^-1(F(u) F(k))`` on axes that are zero-padded until the circular convolution equals the linear one. Only the real
feature map and kernel are saved for backward. Their spectra are recomputed, which costs two transforms and saves the
memory of two complex tensors of about four times the pixels.

On a CPU the axes are transformed one after another, the last one first, so that zeros of the padding are transformed on
the first axis only. A tile of channels is transformed, multiplied and transformed back while it is in the cache, and
the copy that pads an axis also moves it to the end. On other devices one call transforms all axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhyena.ops.autograd import no_forward_mode
from mmhyena.ops.geometry import AxisGeometry, ConvCase, dft_length, fast_fft_length
from mmhyena.ops.mode import is_compiling, is_exporting, is_exporting_onnx
from mmhyena.ops.opaque import opaque_conv

__all__ = ['cost', 'fft_conv', 'fft_conv_prepared', 'fft_kernel', 'reason']

# Elements of the padded feature map in a tile. On a CPU, per two cores: few enough for the caches and for the allocator
# to reuse the memory, and enough to hide the overhead of the calls (docs/performance.md). On other devices it bounds
# the memory of the complex spectra, 0.5 GiB for each that is alive.
CPU_TILE = 3 * 2**17
DEVICE_TILE = 2**27

# Nanoseconds per padded pixel and per call on one core of a CPU (benchmarks/backends.py): forward with a prepared
# kernel, and forward and backward without one, where three of eight transforms are the kernel's.
PREPARED_NS = 4.2, 300.0
TRAINING_NS = 25.0, 6000.0


def reason(case: ConvCase) -> str | None:
    """Return why this backend cannot serve ``case``, or None if it can."""
    if is_exporting_onnx():
        return 'ONNX has no Fourier transform of complex spectra'
    return None


def cost(case: ConvCase) -> float:
    """Return the estimated nanoseconds per image and channel, of forward and backward if the kernel is no constant."""
    points = prod(_lengths(case.axes, case.spatial, case.device))
    share = 0.0 if case.is_constant else 1 / max(case.batch, 1)  # of the kernel
    if case.device.type == 'cpu':
        per_point, per_call = PREPARED_NS if case.is_constant else TRAINING_NS
        return per_point * points * (1.0 if case.is_constant else (5 + 3 * share) / 8) + per_call
    return (1 if case.is_constant else 3 + 2 * share) * 8 * 4 * points / 3e3  # eight passes over memory at 3 TB/s


# ---------------------------------------------------------------------------------------------------------------------
# Transforms: of all axes at once, or on a CPU one after another


class _Padding:
    """Zero-pads data in buffers that all tiles of one call share."""

    def __init__(self) -> None:
        self._buffers: dict[tuple, Tensor] = {}

    def __call__(self, x: Tensor, length: int, lead: int) -> Tensor:
        """Return ``x`` with its last axis zero-padded to ``length``, of which ``lead`` zeros are on the left."""
        key = (x.shape, x.dtype, length, lead)
        if key not in self._buffers:
            self._buffers[key] = x.new_zeros(*x.shape[:-1], length)
        padded = self._buffers[key]
        padded[..., lead : lead + x.shape[-1]] = x
        return padded


def _transform(
    x: Tensor, lengths: Sequence[int], pad: _Padding, leads: Sequence[int] | None = None, norm: str = 'backward'
) -> Tensor:
    """Transform the last axes of a real ``x``, each zero-padded to its length, ``lead`` of the zeros on the left.

    Returns:
        Complex tensor. On a CPU ``(..., lengths[-1] // 2 + 1, lengths[-2], ..., lengths[0])``, the axes in reverse;
        elsewhere ``(..., lengths[0], ..., lengths[-1] // 2 + 1)``.
    """
    axes = len(lengths)
    leads = leads or [0] * axes
    if not _takes_tiles(x.device):
        return _transform_at_once(x, lengths, leads, norm)
    x = torch.fft.rfft(pad(x, lengths[-1], leads[-1]), norm=norm)
    for axis in reversed(range(axes - 1)):
        x = torch.fft.fft(pad(x.movedim(axis - axes, -1), lengths[axis], leads[axis]), norm=norm)
    return x


def _invert(
    spectrum: Tensor, lengths: Sequence[int], starts: Sequence[int], sizes: Sequence[int], norm: str = 'forward'
) -> Tensor:
    """Invert :func:`_transform` and crop to ``starts .. starts + sizes``; unnormalized by default."""
    axes = len(lengths)
    if not _takes_tiles(spectrum.device):
        return _invert_at_once(spectrum, lengths, starts, sizes, norm)
    for axis in range(axes - 1):  # each axis is cropped as soon as it is inverted
        x = torch.fft.ifft(spectrum, norm=norm)
        spectrum = x.narrow(-1, starts[axis], sizes[axis]).movedim(-1, axis - axes)
    return torch.fft.irfft(spectrum, n=lengths[-1], norm=norm).narrow(-1, starts[-1], sizes[-1])


def _transform_at_once(x: Tensor, lengths: Sequence[int], leads: Sequence[int], norm: str) -> Tensor:
    if any(leads):
        padding = [p for n, m, lead in zip(lengths, x.shape[-len(lengths) :], leads) for p in (n - m - lead, lead)]
        x = F.pad(x, padding[::-1])
    return torch.fft.rfftn(x, s=list(lengths), dim=list(range(-len(lengths), 0)), norm=norm)


def _invert_at_once(
    spectrum: Tensor, lengths: Sequence[int], starts: Sequence[int], sizes: Sequence[int], norm: str
) -> Tensor:
    x = torch.fft.irfftn(spectrum, s=list(lengths), dim=list(range(-len(lengths), 0)), norm=norm)
    return x[(..., *(slice(start, start + size) for start, size in zip(starts, sizes)))]


def _takes_tiles(device: torch.device) -> bool:
    """Whether the axes are transformed one after another, in tiles."""
    return device.type == 'cpu'


def _lengths(axes: Sequence[AxisGeometry], spatial: Sequence[int], device: torch.device) -> list[int]:
    return [fast_fft_length(dft_length(axis, size), device.type) for axis, size in zip(axes, spatial)]


def _channel_tiles(batch: int, channels: int, lengths: Sequence[int], device: torch.device) -> Iterator[slice]:
    if device.type == 'cpu':
        threads = torch.get_num_threads()
        fitting = CPU_TILE * max(1, threads // 2) / (batch * prod(lengths))
        # Whole cache lines of channels-last memory, or, if these do not fit, the same number for every thread.
        unit = 16 if fitting > 8 else min(threads, ceil(fitting))
        largest = unit * ceil(fitting / unit)
        step = unit * ceil(channels / ceil(channels / largest) / unit)  # tiles of about equal size
    else:
        step = max(1, DEVICE_TILE // (batch * prod(lengths)))
    for start in range(0, channels, step):
        yield slice(start, start + step)


def _empty_map(u: Tensor) -> Tensor:
    """Return an uninitialized tensor of the shape of ``u``, with gaps between channels that would share a cache set.

    The operation after a long convolution reads one pixel of all channels at a time. If their distance in memory is a
    power of two, all of them are in one set of the cache, and a change to channels last takes eight times as long.
    """
    pixels = prod(u.shape[2:])
    gap = 16 if u.device.type == 'cpu' and pixels % 128 == 0 else 0
    return u.new_empty(*u.shape[:2], pixels + gap)[..., :pixels].unflatten(-1, u.shape[2:])


# ---------------------------------------------------------------------------------------------------------------------
# Convolution and its gradients


def _kernel_spectrum(k: Tensor, lengths: Sequence[int], pad: _Padding) -> Tensor:
    """Return the spectrum of ``k`` ``(C, *kernel)`` divided by ``prod(lengths)``, laid out as :func:`_transform`."""
    return _transform(k, lengths, pad, norm='forward')


def _convolve(
    u: Tensor, lengths: Sequence[int], left: Sequence[int], spectrum_of: Callable[[slice, _Padding], Tensor]
) -> Tensor:
    """Convolve ``u``, tile by tile, with the spectra that ``spectrum_of`` returns for the channels of a tile."""
    y = _empty_map(u)
    if u.numel() == 0:  # MKL refuses an empty batch
        return y
    pad = _Padding()
    for tile in _channel_tiles(u.shape[0], u.shape[1], lengths, u.device):
        product = _transform(u[:, tile], lengths, pad).mul_(spectrum_of(tile, pad))
        y[:, tile] = _invert(product, lengths, left, u.shape[2:])
    return y


def _geometry(u: Tensor, k: Tensor, left: Sequence[int]) -> list[int]:
    taps = k.shape[1:]
    return [fast_fft_length(n + max(lt, t - 1 - lt), u.device.type) for n, t, lt in zip(u.shape[2:], taps, left)]


def _forward(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
    lengths, k = _geometry(u, k, left), k.contiguous()
    return _convolve(u, lengths, left, lambda tile, pad: _kernel_spectrum(k[tile], lengths, pad))


def _backward(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return both gradients of :func:`_forward`: correlations of ``grad`` with the kernel and with the feature map.

    With ``left`` zeros on the left of ``grad``, pixel ``m`` and tap ``j`` meet at ``m + j``, so both correlations start
    at lag 0.
    """
    lengths = _geometry(u, k, left)
    grad_u, grad_k, k = _empty_map(u), k.new_zeros(k.shape), k.contiguous()
    if u.numel() == 0:
        return grad_u, grad_k
    pad, origin = _Padding(), [0] * len(lengths)
    for tile in _channel_tiles(u.shape[0], u.shape[1], lengths, u.device):
        spectrum = _transform(grad[:, tile], lengths, pad, left)  # (B, c, *frequencies)
        cross = (spectrum * _transform(u[:, tile], lengths, pad).conj()).sum(0)
        grad_k[tile] = _invert(cross, lengths, origin, k.shape[1:], norm='backward')
        product = spectrum.mul_(_kernel_spectrum(k[tile], lengths, pad).conj())
        grad_u[:, tile] = _invert(product, lengths, origin, u.shape[2:])
    return grad_u, grad_k


def _fold_vmap(info: Any, in_dims: Sequence[int | None], u: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Fold the mapped dimension of ``u`` ``(V, B, C, ...)`` and ``k`` ``(V, C, ...)`` into the channels."""
    u = u.movedim(in_dims[0], 1) if in_dims[0] is not None else u.unsqueeze(1).expand(-1, info.batch_size, *u.shape[1:])
    k = k.movedim(in_dims[1], 0) if in_dims[1] is not None else k.expand(info.batch_size, *k.shape)
    return u.flatten(1, 2), k.flatten(0, 1)


class _FFTConv(torch.autograd.Function):
    jvp = staticmethod(no_forward_mode)

    @staticmethod
    def forward(u: Tensor, k: Tensor, left: tuple[int, ...]) -> Tensor:
        return _forward(u, k, left)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        u, k, ctx.left = inputs
        ctx.save_for_backward(u, k)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return (*_FFTConvBackward.apply(grad, *ctx.saved_tensors, ctx.left), None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, u: Tensor, k: Tensor, left: tuple[int, ...]) -> tuple[Tensor, int]:
        u, k = _fold_vmap(info, in_dims, u, k)
        return _FFTConv.apply(u, k, left).unflatten(1, (info.batch_size, -1)), 1


class _FFTConvBackward(torch.autograd.Function):
    """The gradients as a function of their own, for which ``torch.func.vmap`` needs a rule."""

    @staticmethod
    def forward(grad: Tensor, u: Tensor, k: Tensor, left: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return _backward(grad, u, k, left)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError(
            "the FFT long convolution has no second derivative; use mmhyena.ops.use_backend('dft'), which has one"
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, grad: Tensor, u: Tensor, k: Tensor, left: tuple[int, ...]) -> tuple:
        grad, folded = _fold_vmap(info, in_dims[0:1] + in_dims[2:3], grad, k)
        u, _ = _fold_vmap(info, in_dims[1:3], u, k)
        grad_u, grad_k = _FFTConvBackward.apply(grad, u, folded, left)
        return (grad_u.unflatten(1, (info.batch_size, -1)), grad_k.unflatten(0, (info.batch_size, -1))), (1, 0)


_compiled_conv = opaque_conv('fft_conv', _forward, _backward, _empty_map)


def fft_conv(u: Tensor, k: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve real ``u`` ``(B, C, *spatial)`` with ``k`` ``(C, *kernel)`` cropped to ``axes``, of the same dtype."""
    left = [axis.left for axis in axes]
    if is_exporting():
        lengths = _lengths(axes, u.shape[2:], u.device)
        spectrum = _transform_at_once(k, lengths, [0] * len(lengths), 'forward')
        return _exported_conv(u, spectrum, lengths, left)
    if is_compiling() and _compiled_conv is not None:
        return _compiled_conv(u, k, left)
    return _FFTConv.apply(u, k, tuple(left))


def fft_kernel(k: Tensor, axes: Sequence[AxisGeometry], spatial: Sequence[int]) -> Tensor:
    """Return the spectrum of a kernel ``(C, *kernel)`` cropped to ``axes`` for maps of size ``spatial``."""
    lengths, pad = _lengths(axes, spatial, k.device), _Padding()
    tiles = list(_channel_tiles(1, k.shape[0], lengths, k.device))
    first = _kernel_spectrum(k[tiles[0]], lengths, pad)
    if len(tiles) == 1:
        return first
    spectrum = first.new_empty(k.shape[0], *first.shape[1:])
    spectrum[tiles[0]] = first
    for tile in tiles[1:]:
        spectrum[tile] = _kernel_spectrum(k[tile], lengths, pad)
    return spectrum


def fft_conv_prepared(u: Tensor, spectrum: Tensor, axes: Sequence[AxisGeometry]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`fft_kernel`; same shape out."""
    lengths, left = _lengths(axes, u.shape[2:], u.device), [axis.left for axis in axes]
    if is_exporting():
        if _takes_tiles(u.device):
            spectrum = spectrum.permute(0, *reversed(range(1, spectrum.dim())))
        return _exported_conv(u, spectrum, lengths, left)
    return _convolve(u, lengths, left, lambda tile, pad: spectrum[tile])


def _exported_conv(u: Tensor, spectrum: Tensor, lengths: Sequence[int], left: Sequence[int]) -> Tensor:
    """Convolve by standard operators, so that an exported program loads where this package is not installed."""
    product = _transform_at_once(u, lengths, [0] * len(lengths), 'backward') * spectrum
    return _invert_at_once(product, lengths, left, u.shape[2:], 'forward')
