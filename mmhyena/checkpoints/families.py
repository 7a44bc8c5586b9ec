"""The families of official checkpoints, which every way of loading weights recognizes by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from mmhyena.checkpoints.official import convert_official, is_official

__all__ = ['OFFICIAL_FAMILIES', 'OfficialFamily', 'find_family']

State = Mapping[str, Tensor]


class OfficialFamily(NamedTuple):
    """How the checkpoints of one official repository are recognized and translated.

    Attributes:
        name: What to call the family in messages.
        matches: Whether the names of a state dict, freed of wrappers and prefixes, are those of this family.
        convert: Translates the state dict to the names of an mmpretrain classifier of ours, ``backbone.*`` and
            ``head.*``. Its second argument is the model to be filled: a whole model, a backbone alone, or None where
            there is none (the converter); it tells what the tensors do not. It raises :class:`ValueError`, in one
            line, where names have no counterpart.
    """

    name: str
    matches: Callable[[State], bool]
    convert: Callable[[State, nn.Module | None], dict[str, Tensor]]


OFFICIAL_FAMILIES: list[OfficialFamily] = [
    OfficialFamily('HyenaPixel or bidirectional Hyena', is_official, lambda state, model: convert_official(state)),
]


def find_family(state: State) -> OfficialFamily | None:
    """Return the family that a state dict belongs to, or None for weights of any other origin."""
    return next((family for family in OFFICIAL_FAMILIES if family.matches(state)), None)
