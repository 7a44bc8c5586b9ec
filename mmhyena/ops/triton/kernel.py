"""The Triton kernel of :mod:`mmhyena.ops.triton.gated_conv`; no other module imports Triton.

One program convolves one channel of one image. With the half transform along the rows (``F`` frequencies) and the
full one along the columns (``N``), a feature map ``X`` becomes ``(A X) B`` by four real matrix products per stage, all
operands in registers. Sizes are padded to powers of two of at least 16, the smallest product of a tensor core.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmhyena.ops.dft import full_matrix, half_matrix

__all__ = ['fused_conv']


@triton.jit
def _matrix(pointer, rows, columns, R: tl.constexpr, S: tl.constexpr):
    """Load a padded ``(R, S)`` matrix stored by rows."""
    return tl.load(pointer + rows[:, None] * S + columns[None, :])


@triton.jit
def _map(pointer, base, stride_h, stride_w, rows, columns, height, width):
    inside = (rows[:, None] < height) & (columns[None, :] < width)
    offsets = base + rows[:, None].to(tl.int64) * stride_h + columns[None, :].to(tl.int64) * stride_w
    return tl.load(pointer + offsets, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _dot(a, b, operand: tl.constexpr, precision: tl.constexpr):
    if precision == 'emulated':  # the interpreter's products take no bfloat16: round as they would
        return tl.dot(a.to(operand).to(tl.float32), b.to(operand).to(tl.float32), input_precision='ieee')
    return tl.dot(a.to(operand), b.to(operand), input_precision=precision, out_dtype=tl.float32)


@triton.jit
def _kernel(
    u_ptr, pre_ptr, post_ptr, y_ptr, spectrum_ptr,
    row_cos_ptr, row_sin_ptr, row_icos_ptr, row_isin_ptr, col_cos_ptr, col_sin_ptr,
    channels, height, width, inverse_n,
    u_b, u_c, u_h, u_w, pre_b, pre_c, pre_h, pre_w, post_b, post_c, post_h, post_w, y_b, y_c, y_h, y_w,
    HAS_PRE: tl.constexpr, HAS_POST: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, F: tl.constexpr, N: tl.constexpr,
    OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)  # the channels of an image follow each other; int64: large maps
    b, c = program // channels, program % channels
    h, w, f, n = tl.arange(0, H), tl.arange(0, W), tl.arange(0, F), tl.arange(0, N)

    x = _map(u_ptr, b * u_b + c * u_c, u_h, u_w, h, w, height, width)  # (H, W)
    if HAS_PRE:
        x = x * _map(pre_ptr, b * pre_b + c * pre_c, pre_h, pre_w, h, w, height, width)

    re = _dot(_matrix(row_cos_ptr, f, h, F, H), x, OPERAND, PRECISION)  # (F, W)
    im = _dot(_matrix(row_sin_ptr, f, h, F, H), x, OPERAND, PRECISION)
    cos, sin = _matrix(col_cos_ptr, w, n, W, N), _matrix(col_sin_ptr, w, n, W, N)
    x_re = _dot(re, cos, OPERAND, PRECISION) + _dot(im, sin, OPERAND, PRECISION)  # (F, N)
    x_im = _dot(im, cos, OPERAND, PRECISION) - _dot(re, sin, OPERAND, PRECISION)

    spectrum = spectrum_ptr + c * (2 * F * N) + f[:, None] * (2 * N) + n[None, :]
    k_re, k_im = tl.load(spectrum), tl.load(spectrum + N)
    y_re = x_re * k_re - x_im * k_im
    y_im = x_re * k_im + x_im * k_re

    cos, sin = tl.trans(cos), tl.trans(sin)  # (N, W)
    re = (_dot(y_re, cos, OPERAND, PRECISION) - _dot(y_im, sin, OPERAND, PRECISION)) * inverse_n  # (F, W)
    im = (_dot(y_re, sin, OPERAND, PRECISION) + _dot(y_im, cos, OPERAND, PRECISION)) * inverse_n
    y = _dot(_matrix(row_icos_ptr, h, f, H, F), re, OPERAND, PRECISION)  # (H, W)
    y += _dot(_matrix(row_isin_ptr, h, f, H, F), im, OPERAND, PRECISION)

    if HAS_POST:
        y = y * _map(post_ptr, b * post_b + c * post_c, post_h, post_w, h, w, height, width)
    inside = (h[:, None] < height) & (w[None, :] < width)
    offsets = b * y_b + c * y_c + h[:, None].to(tl.int64) * y_h + w[None, :].to(tl.int64) * y_w
    tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=inside)


def _padded(n: int) -> int:
    return max(16, triton.next_power_of_2(n))


def _pad(matrix: Tensor, rows: int, columns: int) -> Tensor:
    out = matrix.new_zeros(rows, columns)
    out[: matrix.shape[0], : matrix.shape[1]] = matrix
    return out


def _precision(dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        return 'ieee'
    interpreted = os.environ.get('TRITON_INTERPRET') == '1'
    return 'emulated' if dtype == torch.bfloat16 and interpreted else 'tf32'


@lru_cache(maxsize=64)
def _matrices(
    height: int, width: int, lengths: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    h, w, f, n = (_padded(size) for size in (height, width, lengths[0] // 2 + 1, lengths[1]))
    exact: dict[str, Any] = dict(device=torch.device('cpu'), dtype=torch.float64)
    with torch.inference_mode(False):
        forward = half_matrix(height, lengths[0], 0, False, **exact)
        inverse = half_matrix(height, lengths[0], 0, True, **exact)
        full = full_matrix(width, lengths[1], 0, False, **exact)  # [[cos, sin], [-sin, cos]], each (N, W)
        cos, sin = full[: lengths[1], :width], full[: lengths[1], width:]
        matrices = (
            _pad(forward[0::2], f, h),
            _pad(forward[1::2], f, h),
            _pad(inverse[:, 0::2], h, f),
            _pad(inverse[:, 1::2], h, f),
            _pad(cos.t(), w, n),
            _pad(sin.t(), w, n),
        )
        return tuple(matrix.to(device, dtype).contiguous() for matrix in matrices)


def fused_conv(u: Tensor, spectrum: Tensor, lengths: Sequence[int], pre: Tensor | None, post: Tensor | None) -> Tensor:
    """Return ``post * (K * (pre * u))``, launched on the device of ``u`` whichever is current.

    Args:
        u: Feature map ``(B, C, H, W)`` of any strides.
        spectrum: Spectrum of the kernel, ``(C, lengths[0] // 2 + 1, 2, lengths[1])``, float32.
        lengths: Transform lengths of both axes.
        pre: Gate of the input, shape of ``u``, or None.
        post: Gate of the output, shape of ``u``, or None.
    """
    batch, channels, height, width = u.shape
    f, n = _padded(lengths[0] // 2 + 1), _padded(lengths[1])
    padded = spectrum.new_zeros(channels, f, 2, n)
    padded[:, : spectrum.shape[1], :, : lengths[1]] = spectrum
    operand = torch.bfloat16 if u.dtype == torch.bfloat16 else torch.float32
    matrices = _matrices(height, width, (lengths[0], lengths[1]), operand, u.device)
    y = torch.empty_like(u)
    gates = [u if gate is None else gate for gate in (pre, post)]
    with torch.cuda.device_of(u):  # Triton launches on the current device
        _kernel[(batch * channels,)](
            u, *gates, y, padded, *matrices,
            channels, height, width, 1.0 / lengths[1],
            *u.stride(), *gates[0].stride(), *gates[1].stride(), *y.stride(),
            HAS_PRE=pre is not None, HAS_POST=post is not None,
            H=_padded(height), W=_padded(width), F=f, N=n,
            OPERAND=tl.bfloat16 if operand == torch.bfloat16 else tl.float32,
            PRECISION=_precision(u.dtype),
            num_warps=8,
        )  # fmt: skip
    return y
