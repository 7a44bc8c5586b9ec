"""Token mixing in windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmhyena.layers.build import complete
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.registry import MODELS

__all__ = ['WindowedMixer']


@MODELS.register_module()
class WindowedMixer(TokenMixer):
    """Applies a token mixer to square windows, which are shifted by half a window in every other block.

    The windows are those of Swin (arXiv 2103.14030, section 3.2), with two differences. The feature map is zero-padded
    where windows reach beyond it. Shifted windows begin above and to the left of the feature map instead of wrapping
    around, so no mask is needed.

    Args:
        channels: Number of channels C.
        mixer: Config of the token mixer, built with ``channels`` and, if it takes them, with ``block_index`` and the
            window's size as ``map_size``.
        window_size: Pixels of a window on both axes.
        block_index: Position of the block in its backbone, which passes it. Odd blocks have shifted windows.

    Raises:
        ValueError: If ``window_size`` is not positive.
    """

    def __init__(self, channels: int, mixer: dict, window_size: int = 7, block_index: int = 0) -> None:
        super().__init__()
        if window_size < 1:
            raise ValueError(f'window_size must be positive, got {window_size}')
        self.window_size = window_size
        self.shift = window_size // 2 if block_index % 2 else 0
        mixer = complete(mixer, map_size=window_size, block_index=block_index)
        self.mixer = MODELS.build(dict(mixer, channels=channels))

    def prepare(self, spatial: Sequence[int]) -> Any:
        """Return the result of the mixer's own ``prepare`` for a window."""
        return self.mixer.prepare((self.window_size, self.window_size))

    def forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        """Mix ``x`` ``(B, H, W, C)``, with the result of :meth:`prepare` if it was made before."""
        batch, height, width, channels = x.shape
        side, shift = self.window_size, self.shift
        rows, columns = (-(-(size + shift) // side) for size in (height, width))
        bottom, right = rows * side - shift - height, columns * side - shift - width
        x = F.pad(x, (0, 0, shift, right, shift, bottom))
        x = x.view(batch, rows, side, columns, side, channels).transpose(2, 3)
        x = self.mixer(x.reshape(-1, side, side, channels), prepared)  # (B * rows * columns, side, side, C)
        x = x.view(batch, rows, columns, side, side, channels).transpose(2, 3)
        x = x.reshape(batch, rows * side, columns * side, channels)
        return x[:, shift : shift + height, shift : shift + width]
