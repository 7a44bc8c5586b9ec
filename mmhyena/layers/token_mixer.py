"""What every token mixer has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmhyena.ops import add_residual

__all__ = ['TokenMixer']


class TokenMixer(nn.Module):
    """Base of the modules that mix the pixels of a map ``(B, *spatial, C)`` into one of the same shape.

    A mixer whose weights have to be turned into something costly, a kernel say, does that in :meth:`prepare`. A block
    under activation checkpointing calls it once, outside the part that runs twice.

    Attributes:
        accepts_class_token: Whether it also maps ``(B, 1 + H * W, C)``, a class token before the flattened pixels.
    """

    accepts_class_token = False

    def init_weights(self) -> None:
        """Restore what the mixer cannot work without, after a backbone has initialized linear layers and convolutions.

        Nothing by default.
        """

    def prepare(self, spatial: Sequence[int]) -> Any:
        """Return what :meth:`forward` needs for maps of size ``spatial`` besides the map, or None for nothing."""
        return None

    def forward(self, x: Tensor, prepared: Any = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``; ``prepared`` is None or a result of :meth:`prepare`."""
        raise NotImplementedError

    def residual(self, x: Tensor, norm: nn.Module, scale: Tensor | None = None) -> Tensor:
        """Return ``scale * x + self(norm(x))`` in a new tensor, the first half of a block in evaluation.

        Args:
            x: ``(B, *spatial, C)``.
            norm: The norm before the mixer.
            scale: ``(C,)``, or None for 1.
        """
        return add_residual(self(norm(x)), x, scale)
