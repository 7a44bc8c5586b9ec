"""Models by name: the aliases in ``model-index.yml`` and its metafiles, in a clone or in an installed package."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.fileio import load

import mmhyena
from mmhyena.checkpoints import read_checkpoint
from mmhyena.errors import CheckpointError, UserError

__all__ = ['IndexedModel', 'find_model', 'list_models', 'model_index', 'read_weights']

_PACKAGE = Path(mmhyena.__file__).parent
# An installed package carries its own copy in .mim, where OpenMMLab's tools look; a clone has the original above it.
_FOLDERS = (_PACKAGE / '.mim', _PACKAGE.parent)


@dataclass(frozen=True)
class IndexedModel:
    """A model of the index.

    Attributes:
        name: Its alias.
        config: Its config file.
        weights: An address or a file that exists or should, or None.
        file: Where a copy of weights at an address is looked for first, or None.
        license: Of the weights, or where it is stated.
    """

    name: str
    config: Path
    weights: str | None = None
    file: str | None = None
    license: str | None = None


def model_index() -> Path:
    """Return the file ``model-index.yml``.

    Raises:
        UserError: If it is not where an installation or a clone has it.
    """
    for folder in _FOLDERS:
        if (folder / 'model-index.yml').is_file():
            return folder / 'model-index.yml'
    raise UserError(f'model-index.yml is in neither of {", ".join(map(str, _FOLDERS))}: name a config file')


def list_models(index: Path | None = None) -> dict[str, IndexedModel]:
    """Return the models of an index by their names.

    Args:
        index: A ``model-index.yml``; None takes the one of this package.
    """
    index = index or model_index()
    metafiles = [load(index.parent / path) for path in load(index)['Import']]
    entries = [entry for metafile in metafiles for entry in metafile.get('Models', ())]
    return {entry['Name']: _read(entry, index.parent) for entry in entries}


def _read(entry: dict[str, Any], root: Path) -> IndexedModel:
    weights, file = entry.get('Weights'), entry.get('Weights File')
    for copy in (weights, file):
        if copy and '://' not in copy and (found := next((p for p in (Path(copy), root / copy) if p.exists()), None)):
            weights = str(found)
            break
    return IndexedModel(entry['Name'], root / entry['Config'], weights, file, entry.get('Weights License'))


def read_weights(model: IndexedModel) -> dict[str, Any]:
    """Read the weights that the index names for a model.

    Raises:
        UserError: If it names none, or they are not there, with what to download and where to put it.
    """
    if model.weights is None:
        raise UserError(f'{model.name} has no weights in the model index: name a checkpoint')
    if '://' not in model.weights and not Path(model.weights).is_file():
        raise UserError(
            f'{model.weights}, the weights of {model.name}, do not exist: put the official or the converted checkpoint '
            'there, or name a checkpoint'
        )
    try:
        return read_checkpoint(model.weights)
    except CheckpointError as error:
        place = f', or put it at {model.file}' if model.file else ''
        raise CheckpointError(f'weights of {model.name}: {error}{place}') from error


def find_model(name: str, index: Path | None = None) -> IndexedModel:
    """Return the model with an alias, whatever its case.

    Args:
        name: The alias: the name of a config without ``.py``.
        index: As in :func:`list_models`.

    Raises:
        UserError: If there is none, with the nearest aliases.
    """
    models = {alias.lower(): model for alias, model in list_models(index).items()}
    if name.lower() in models:
        return models[name.lower()]
    near = difflib.get_close_matches(name.lower(), models, n=3, cutoff=0.5)
    words = re.findall(r'[a-z0-9]+', name.lower())
    near += [alias for alias in models if words and all(word in alias for word in words) and alias not in near]
    hint = f'did you mean {", ".join(models[alias].name for alias in near[:5])}?' if near else 'see model-index.yml'
    raise UserError(f'{name} is neither a config file nor a name in the model index: {hint}')
