"""The families of official checkpoints, which every way of loading weights recognizes by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmhyena.checkpoints.official import convert_official, is_official, official_config
from mmhyena.checkpoints.official_ibit import (
    convert_official_ibit,
    is_official_ibit,
    official_ibit_config,
    warn_of_roll,
)
from mmhyena.checkpoints.official_nd_model import (
    convert_official_nd_model,
    is_official_nd,
    official_nd_model_config,
)

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
        backbone_config: Returns the config of our backbone for a state dict and the arguments below.
        official_args: What :func:`~mmhyena.checkpoints.official_classifier` has to be told besides the tensors.
    """

    name: str
    matches: Callable[[State], bool]
    convert: Callable[[State, nn.Module | None], dict[str, Tensor]]
    backbone_config: Callable[..., dict[str, Any]]
    official_args: tuple[str, ...] = ()


def _convert_ibit(state: State, model: nn.Module | None) -> dict[str, Tensor]:
    backbone = getattr(model, 'backbone', model)
    if backbone is None:
        return convert_official_ibit(state)
    warn_of_roll(state, backbone)
    patches = getattr(getattr(backbone, 'patch_embed', None), 'proj', None)
    return convert_official_ibit(state, getattr(patches, 'in_channels', 3))


OFFICIAL_FAMILIES: list[OfficialFamily] = [
    OfficialFamily(
        'HyenaPixel or bidirectional Hyena', is_official, lambda state, model: convert_official(state), official_config
    ),
    OfficialFamily('IBiT', is_official_ibit, _convert_ibit, official_ibit_config, ('roll', 'img_size', 'in_channels')),
    OfficialFamily(
        'Hyena N-D',
        is_official_nd,
        lambda state, model: convert_official_nd_model(state),
        official_nd_model_config,
        ('args',),
    ),
]


def find_family(state: State) -> OfficialFamily | None:
    """Return the family that a state dict belongs to, or None for weights of any other origin."""
    return next((family for family in OFFICIAL_FAMILIES if family.matches(state)), None)
