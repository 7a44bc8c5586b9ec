"""Short depthwise convolutions whose gradient is fast with channels last on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from mmhyena.ops import depthwise_conv

__all__ = ['DepthwiseConv1d', 'DepthwiseConv2d']


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise ``nn.Conv2d`` of stride 1 that keeps the size of the feature map.

    Args:
        channels: Number of channels C.
        kernel_size: Taps on both axes, odd.
        bias: Whether to add a bias per channel.

    Raises:
        ValueError: If ``kernel_size`` is even.
    """

    def __init__(self, channels: int, kernel_size: int, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel_size, padding=_half(kernel_size), groups=channels, bias=bias)
        self._built = _geometry(self)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` ``(B, C, H, W)``; same shape out."""
        if not keeps_size(self):
            return super().forward(x)
        return depthwise_conv(x, self.weight, self.bias)


class DepthwiseConv1d(nn.Conv1d):
    """Depthwise ``nn.Conv1d`` of stride 1 that keeps the length of the sequence.

    It runs as a 2-D convolution of one row, since only that has a form with channels last in memory: a tenth of the
    time for ``(B, L, C)`` tensors on a CPU.

    Args:
        channels: Number of channels C.
        kernel_size: Taps, odd.
        bias: Whether to add a bias per channel.

    Raises:
        ValueError: If ``kernel_size`` is even.
    """

    def __init__(self, channels: int, kernel_size: int, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel_size, padding=_half(kernel_size), groups=channels, bias=bias)
        self._built = _geometry(self)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` ``(B, C, L)``; same shape out."""
        if not keeps_size(self) or x.dim() != 3:
            return super().forward(x)
        return depthwise_conv(x.unsqueeze(2), self.weight.unsqueeze(2), self.bias).squeeze(2)


def keeps_size(conv: DepthwiseConv1d | DepthwiseConv2d) -> bool:
    """Whether ``conv`` still has the geometry that it was built with: attributes of a convolution can be assigned."""
    return conv._built == _geometry(conv)


def _geometry(conv: nn.Conv1d | nn.Conv2d) -> tuple:
    return conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode


def _half(kernel_size: int) -> int:
    if kernel_size % 2 == 0:
        raise ValueError(f'a depthwise convolution that keeps the size needs an odd kernel_size, got {kernel_size}')
    return kernel_size // 2
