"""The long convolution by the FFT, with a backward that keeps no spectrum.

Forward and backward work on real tensors only: the map and the kernel are saved as they came, and their spectra are
computed again in the backward, which costs two transforms and saves two complex maps of about four times the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .geometry import fast_fft_length

__all__ = ['conv_with_spectrum', 'fft_conv', 'kernel_spectrum']


def _rfft(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Transform the last ``len(lengths)`` axes, zero-padded to ``lengths``."""
    if x.numel() == 0:  # MKL refuses an empty batch
        shape = (*x.shape[: -len(lengths)], *lengths[:-1], lengths[-1] // 2 + 1)
        return x.new_zeros(shape, dtype=x.dtype.to_complex())
    return torch.fft.rfftn(x, s=tuple(lengths), dim=tuple(range(-len(lengths), 0)))


def _irfft(spectrum: Tensor, lengths: Sequence[int]) -> Tensor:
    """Invert :func:`_rfft`."""
    if spectrum.numel() == 0:
        return spectrum.real.new_zeros((*spectrum.shape[: -len(lengths)], *lengths))
    return torch.fft.irfftn(spectrum, s=tuple(lengths), dim=tuple(range(-len(lengths), 0)))


def _head(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Keep the first ``sizes`` entries of the last axes."""
    return x[(..., *(slice(0, size) for size in sizes))]


def _fft_lengths(spatial: Sequence[int], kernel: Sequence[int], left: Sequence[int]) -> list[int]:
    return [fast_fft_length(n + max(lt, k - 1 - lt)) for n, k, lt in zip(spatial, kernel, left)]


def kernel_spectrum(k: Tensor, left: Sequence[int], lengths: Sequence[int]) -> Tensor:
    """Return the spectrum of ``k`` with the tap of displacement 0 at the origin.

    Args:
        k: Kernel ``(C, *kernel)``, already cropped to the taps that can touch the map.
        left: Taps before the centre on each axis.
        lengths: Transform length of each axis.

    Returns:
        Complex tensor ``(C, *lengths[:-1], lengths[-1] // 2 + 1)``.
    """
    padding = [p for n, size in zip(reversed(lengths), reversed(k.shape[1:])) for p in (0, n - size)]
    padded = torch.nn.functional.pad(k, padding)  # (C, *lengths)
    rolled = torch.roll(padded, [-lt for lt in left], dims=list(range(1, k.dim())))
    return _rfft(rolled, lengths)


def conv_with_spectrum(u: Tensor, spectrum: Tensor, lengths: Sequence[int]) -> Tensor:
    """Convolve ``u`` ``(B, C, *spatial)`` with a kernel given by :func:`kernel_spectrum`; same shape out."""
    product = _rfft(u, lengths).mul_(spectrum)  # (B, C, *lengths)
    return _head(_irfft(product, lengths), u.shape[2:])


def _forward(u: Tensor, k: Tensor, left: Sequence[int]) -> Tensor:
    lengths = _fft_lengths(u.shape[2:], k.shape[1:], left)
    return conv_with_spectrum(u, kernel_spectrum(k, left, lengths), lengths).contiguous()


def _backward(grad: Tensor, u: Tensor, k: Tensor, left: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Both gradients of :func:`_forward`: correlations of ``grad`` with the kernel and with the map."""
    lengths = _fft_lengths(u.shape[2:], k.shape[1:], left)
    grad_spectrum = _rfft(grad, lengths)  # (B, C, *lengths)
    kernel = kernel_spectrum(k, left, lengths)
    grad_u = _head(_irfft(grad_spectrum * kernel.conj(), lengths), u.shape[2:]).contiguous()

    cross = grad_spectrum.mul_(_rfft(u, lengths).conj()).sum(0)  # (C, *lengths)
    rolled = torch.roll(_irfft(cross, lengths), list(left), dims=list(range(1, k.dim())))
    return grad_u, _head(rolled, k.shape[1:]).contiguous()


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
