"""The long convolution by the FFT, with a backward that keeps no spectrum.

Forward and backward work on real tensors only: the map and the kernel are saved as they came, and their spectra are
computed again in the backward, which costs two transforms and saves two complex maps of about four times the pixels.

Each axis is transformed by itself, the last one first, so that the zeros of the padding are transformed on the first
axis alone. On a CPU a few channels at a time go all the way there and back while they are in the cache, and the axis at
hand is moved to the end by the copy that pads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil, prod

import torch
from torch import Tensor

from mmhyena.ops.geometry import fast_fft_length

__all__ = ['conv_with_spectrum', 'fft_conv', 'kernel_spectrum']

# Elements of the padded map that are worked on at a time, for each two cores: few enough for the caches and for the
# allocator to keep the memory, and enough to hide what each call costs (docs/performance.md).
CHUNK = 3 * 2**17


class _Padding:
    """Moves data between zeros, in memory that chunk after chunk uses again."""

    def __init__(self) -> None:
        self._buffers: dict[tuple, Tensor] = {}

    def __call__(self, x: Tensor, length: int, lead: int) -> Tensor:
        """Place the last axis of ``x`` behind ``lead`` zeros on a contiguous axis of ``length``."""
        key = (x.shape, x.dtype, length, lead)
        if key not in self._buffers:
            self._buffers[key] = x.new_zeros(*x.shape[:-1], length)
        padded = self._buffers[key]
        padded[..., lead : lead + x.shape[-1]] = x
        return padded


def _transform(
    x: Tensor, lengths: Sequence[int], pad: _Padding, leads: Sequence[int] | None = None, norm: str = 'backward'
) -> Tensor:
    """Transform the last axes of a real ``x``, each padded to its length, after ``lead`` zeros.

    Returns:
        Complex tensor ``(..., lengths[-1] // 2 + 1, lengths[-2], ..., lengths[0])``: the axes in reverse.
    """
    axes = len(lengths)
    leads = leads or [0] * axes
    x = torch.fft.rfft(pad(x, lengths[-1], leads[-1]), norm=norm)
    for axis in reversed(range(axes - 1)):
        x = torch.fft.fft(pad(x.movedim(axis - axes, -1), lengths[axis], leads[axis]), norm=norm)
    return x


def _invert(
    spectrum: Tensor, lengths: Sequence[int], starts: Sequence[int], sizes: Sequence[int], norm: str = 'forward'
) -> Tensor:
    """Invert :func:`_transform`, cropping each axis as soon as it is inverted; by default times ``prod(lengths)``."""
    axes = len(lengths)
    for axis in range(axes - 1):
        x = torch.fft.ifft(spectrum, norm=norm)
        spectrum = x.narrow(-1, starts[axis], sizes[axis]).movedim(-1, axis - axes)
    return torch.fft.irfft(spectrum, n=lengths[-1], norm=norm).narrow(-1, starts[-1], sizes[-1])


def _fft_lengths(spatial: Sequence[int], kernel: Sequence[int], left: Sequence[int]) -> list[int]:
    return [fast_fft_length(n + max(lt, k - 1 - lt)) for n, k, lt in zip(spatial, kernel, left)]


def _channel_chunks(batch: int, channels: int, lengths: Sequence[int], device: torch.device) -> Iterator[slice]:
    step = channels
    if device.type == 'cpu':
        threads = torch.get_num_threads()
        fitting = CHUNK * max(1, threads // 2) / (batch * prod(lengths))
        # Whole cache lines where channels are last in memory, and if that is too much, the same for every thread.
        unit = 16 if fitting > 8 else min(threads, ceil(fitting))
        largest = unit * ceil(fitting / unit)
        step = unit * ceil(channels / ceil(channels / largest) / unit)  # about equal parts
    for start in range(0, channels, step):
        yield slice(start, start + step)


def _empty_map(u: Tensor) -> Tensor:
    """Return an empty map of the shape of ``u``, with gaps between the channels where they would share cache lines.

    What follows a long convolution reads one pixel of all channels at a time. With a power of two between them, all
    are in one set of the cache, and moving the channels to the end takes eight times as long.
    """
    pixels = prod(u.shape[2:])
    gap = 16 if u.device.type == 'cpu' and pixels % 128 == 0 else 0
    return u.new_empty(*u.shape[:2], pixels + gap)[..., :pixels].unflatten(-1, u.shape[2:])


def kernel_spectrum(k: Tensor, lengths: Sequence[int], pad: _Padding | None = None) -> Tensor:
    """Return the spectrum of ``k`` divided by ``prod(lengths)``.

    Args:
        k: Kernel ``(C, *kernel)``, already cropped to the taps that can touch the map.
        lengths: Transform length of each axis.
        pad: Memory to use again.

    Returns:
        Complex tensor ``(C, lengths[-1] // 2 + 1, lengths[-2], ..., lengths[0])``: the axes in reverse.
    """
    return _transform(k, lengths, pad or _Padding(), norm='forward')


def _convolve(
    u: Tensor, lengths: Sequence[int], left: Sequence[int], spectrum_of: Callable[[slice, _Padding], Tensor]
) -> Tensor:
    """Convolve ``u``, some channels at a time, with the spectra that ``spectrum_of`` gives for them."""
    y = _empty_map(u)
    if u.numel() == 0:  # MKL refuses an empty batch
        return y
    pad = _Padding()
    for part in _channel_chunks(u.shape[0], u.shape[1], lengths, u.device):
        product = _transform(u[:, part], lengths, pad).mul_(spectrum_of(part, pad))
        y[:, part] = _invert(product, lengths, left, u.shape[2:])
    return y


def conv_with_spectrum(u: Tensor, spectrum: Tensor, lengths: Sequence[int], left: Sequence[int]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`kernel_spectrum`; same shape out."""
    return _convolve(u, lengths, left, lambda part, pad: spectrum[part])


def _forward(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
    lengths, k = _fft_lengths(u.shape[2:], k.shape[1:], left), k.contiguous()
    return _convolve(u, lengths, left, lambda part, pad: kernel_spectrum(k[part], lengths, pad))


def _backward(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Both gradients of :func:`_forward`: correlations of ``grad`` with the kernel and with the map.

    With ``grad`` behind ``left`` zeros, pixel ``m`` and tap ``j`` meet at ``m + j``: both correlations start at lag 0.
    """
    lengths = _fft_lengths(u.shape[2:], k.shape[1:], left)
    grad_u, grad_k, k = _empty_map(u), k.new_zeros(k.shape), k.contiguous()
    if u.numel() == 0:
        return grad_u, grad_k
    pad, origin = _Padding(), [0] * len(lengths)
    for part in _channel_chunks(u.shape[0], u.shape[1], lengths, u.device):
        spectrum = _transform(grad[:, part], lengths, pad, left)  # (B, c, *lengths reversed, the first one halved)
        cross = (spectrum * _transform(u[:, part], lengths, pad).conj()).sum(0)
        grad_k[part] = _invert(cross, lengths, origin, k.shape[1:], norm='backward')
        product = spectrum.mul_(kernel_spectrum(k[part], lengths, pad).conj())
        grad_u[:, part] = _invert(product, lengths, origin, u.shape[2:])
    return grad_u, grad_k


if hasattr(torch.library, 'custom_op'):  # torch >= 2.4: opaque to torch.compile, hence no graph break

    @torch.library.custom_op('mmhyena::fft_conv', mutates_args=())
    def fft_conv(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
        """Convolve real ``u`` ``(B, C, *spatial)`` with real ``k`` ``(C, *kernel)``, ``left`` taps before the centre.

        The kernel must be cropped to the taps that can touch the map. Both are of one dtype, float32 or float64.
        """
        return _forward(u, k, left)

    @fft_conv.register_fake
    def _(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
        return _empty_map(u)

    @torch.library.custom_op('mmhyena::fft_conv_backward', mutates_args=())
    def _fft_conv_backward(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
        return _backward(grad, u, k, left)

    @_fft_conv_backward.register_fake
    def _(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
        return _empty_map(u), k.new_empty(k.shape)

    def _setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        u, k, ctx.left = inputs
        ctx.save_for_backward(u, k)

    def _autograd_backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return (*_fft_conv_backward(grad, *ctx.saved_tensors, ctx.left), None)

    fft_conv.register_autograd(_autograd_backward, setup_context=_setup_context)

else:

    class _FFTConv(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
            ctx.save_for_backward(u, k)
            ctx.left = left
            return _forward(u, k, left)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
            return (*_backward(grad, *ctx.saved_tensors, ctx.left), None)

    fft_conv = _FFTConv.apply
