"""What the converters of official vision transformers share: the token mixers of their blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from mmhyena.errors import CheckpointError

__all__ = ['convert_token_mixers']

State = Mapping[str, Tensor]


def convert_token_mixers(
    mixers: Mapping[str, State], convert: Callable[[State], State], unknown: Sequence[str], family: str
) -> dict[str, Tensor]:
    """Translate the token mixers of all blocks to the names of a classifier with our ``HyenaViT``.

    Args:
        mixers: Official names and tensors of the token mixer of each block, by the block's number.
        convert: Translates those of one block.
        unknown: Keys of the checkpoint that nothing translates.
        family: What to call the official model in errors.

    Raises:
        CheckpointError: If there are unknown keys, or a block does not convert; the block is named.
    """
    if unknown:
        raise CheckpointError(
            f'{len(unknown)} keys of the official {family} have no counterpart: {", ".join(sorted(unknown))}'
        )
    result: dict[str, Tensor] = {}
    for index, mixer in mixers.items():
        try:
            converted = convert(mixer)
        except CheckpointError as error:
            raise CheckpointError(f'block {index}: {error}') from error
        result |= {f'backbone.layers.{index}.token_mixer.{name}': value for name, value in converted.items()}
    return result
