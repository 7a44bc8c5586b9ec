"""The long convolution by the FFT, with a backward that keeps no spectrum.

Forward and backward work on real tensors only: the map and the kernel are saved as they came, and their spectra are
computed again in the backward, which costs two transforms and saves two complex maps of about four times the pixels.

Each axis is transformed by itself, so that the zeros of the padding are transformed on the last axis alone, and on a
CPU a few channels at a time go all the way there and back while they are in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import fast_fft_length

__all__ = ['conv_with_spectrum', 'fft_conv', 'kernel_spectrum']

# Elements of the padded map that a core works on at a time: about a level-2 cache (docs/performance.md).
CHUNK = 2**18


def _transform(x: Tensor, lengths: Sequence[int], leads: Sequence[int] | None = None) -> Tensor:
    """Transform the last ``len(lengths)`` axes of a real ``x``, each padded to its length, after ``lead`` zeros."""
    for axis, length in enumerate(lengths):
        dim = axis - len(lengths)
        if leads is not None and leads[axis]:
            x = F.pad(x, [0, 0] * (-dim - 1) + [leads[axis], length - leads[axis] - x.shape[dim]])
        x = torch.fft.rfft(x, n=length, dim=dim) if axis == 0 else torch.fft.fft(x, n=length, dim=dim)
    return x


def _invert(spectrum: Tensor, lengths: Sequence[int], starts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Invert :func:`_transform` up to the factor ``prod(lengths)``, and crop each axis as soon as it is inverted."""
    for axis in reversed(range(len(lengths))):
        dim, length = axis - len(lengths), lengths[axis]
        inverse = torch.fft.ifft if axis else torch.fft.irfft
        x = inverse(spectrum, n=length, dim=dim, norm='forward')
        spectrum = x.narrow(dim, starts[axis], sizes[axis])
    return spectrum


def _fft_lengths(spatial: Sequence[int], kernel: Sequence[int], left: Sequence[int]) -> list[int]:
    return [fast_fft_length(n + max(lt, k - 1 - lt)) for n, k, lt in zip(spatial, kernel, left)]


def _channel_chunks(batch: int, channels: int, lengths: Sequence[int], device: torch.device) -> Iterator[slice]:
    step = channels
    if device.type == 'cpu':
        step = max(1, CHUNK * torch.get_num_threads() // (batch * prod(lengths)))
    for start in range(0, channels, step):
        yield slice(start, start + step)


def kernel_spectrum(k: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the spectrum of ``k`` divided by ``prod(lengths)``.

    Args:
        k: Kernel ``(C, *kernel)``, already cropped to the taps that can touch the map.
        lengths: Transform length of each axis.

    Returns:
        Complex tensor ``(C, lengths[0] // 2 + 1, *lengths[1:])``.
    """
    return _transform(k / prod(lengths), lengths)


def conv_with_spectrum(u: Tensor, spectrum: Tensor, lengths: Sequence[int], left: Sequence[int]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`kernel_spectrum`; same shape out."""
    if u.numel() == 0:  # MKL refuses an empty batch
        return torch.empty_like(u, memory_format=torch.contiguous_format)
    spatial, u = u.shape[2:], u.contiguous()
    y = torch.empty_like(u)
    for part in _channel_chunks(u.shape[0], u.shape[1], lengths, u.device):
        product = _transform(u[:, part], lengths).mul_(spectrum[part])  # (B, c, *lengths), the first one halved
        y[:, part] = _invert(product, lengths, left, spatial)
    return y


def _forward(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
    lengths = _fft_lengths(u.shape[2:], k.shape[1:], left)
    if u.numel() == 0:
        return torch.empty_like(u, memory_format=torch.contiguous_format)
    u, y = u.contiguous(), torch.empty_like(u, memory_format=torch.contiguous_format)
    for part in _channel_chunks(u.shape[0], u.shape[1], lengths, u.device):
        product = _transform(u[:, part], lengths).mul_(kernel_spectrum(k[part], lengths))
        y[:, part] = _invert(product, lengths, left, u.shape[2:])
    return y


def _backward(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Both gradients of :func:`_forward`: correlations of ``grad`` with the kernel and with the map.

    With ``grad`` behind ``left`` zeros, pixel ``m`` and tap ``j`` meet at ``m + j``: both correlations start at lag 0.
    """
    lengths = _fft_lengths(u.shape[2:], k.shape[1:], left)
    grad_u = torch.empty_like(u, memory_format=torch.contiguous_format)
    grad_k = torch.zeros_like(k, memory_format=torch.contiguous_format)
    if u.numel() == 0:
        return grad_u, grad_k
    origin, scale = [0] * len(lengths), 1 / prod(lengths)
    grad, u = grad.contiguous(), u.contiguous()
    for part in _channel_chunks(u.shape[0], u.shape[1], lengths, u.device):
        spectrum = _transform(grad[:, part] * scale, lengths, left)  # (B, c, *lengths), the first one halved
        cross = (spectrum * _transform(u[:, part], lengths).conj()).sum(0)
        grad_k[part] = _invert(cross, lengths, origin, k.shape[1:])
        product = spectrum.mul_(_transform(k[part], lengths).conj())
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
        return torch.empty(u.shape, dtype=u.dtype, device=u.device)

    @torch.library.custom_op('mmhyena::fft_conv_backward', mutates_args=())
    def _fft_conv_backward(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
        return _backward(grad, u, k, left)

    @_fft_conv_backward.register_fake
    def _(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
        return (
            torch.empty(u.shape, dtype=u.dtype, device=u.device),
            torch.empty(k.shape, dtype=k.dtype, device=k.device),
        )

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
