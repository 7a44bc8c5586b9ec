"""The interface of the token mixers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

__all__ = ['TokenMixer']


class TokenMixer(nn.Module):
    """Base of the modules that mix the pixels of a feature map ``(B, *spatial, C)`` into one of the same shape.

    A mixer that derives something costly from its weights, such as a kernel, does so in :meth:`prepare`. A block under
    activation checkpointing calls it once, outside the part that runs twice.

    Attributes:
        accepts_class_token: Whether the mixer also takes ``(B, 1 + H * W, C)``, a class token before the flattened
            pixels.
    """

    accepts_class_token = False

    def init_weights(self) -> None:
        """Restore what the mixer cannot work without, after a backbone has initialized linear layers and convolutions.

        Nothing by default.
        """

    def prepare(self, spatial: Sequence[int]) -> Any:
        """Return what :meth:`forward` needs for feature maps of size ``spatial``, or None for nothing."""
        return None

    def forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``; ``prepared`` is None or a result of :meth:`prepare`."""
        raise NotImplementedError
