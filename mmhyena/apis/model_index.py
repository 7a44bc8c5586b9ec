"""Models by name: the aliases in ``model-index.yml`` and its metafiles, in a clone or in an installed package."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.fileio import load

import mmhyena
from mmhyena.errors import UserError

__all__ = ['IndexedModel', 'find_model', 'list_models', 'model_index']

_PACKAGE = Path(mmhyena.__file__).parent
# An installed package carries its own copy in .mim, where OpenMMLab's tools look; a clone has the original above it.
_FOLDERS = (_PACKAGE / '.mim', _PACKAGE.parent)


@dataclass(frozen=True)
class IndexedModel:
    """A model of the index.

    Attributes:
        name: Its alias.
        config: Its config file.
        weights: A URL or a file that exists or should, or None.
    """

    name: str
    config: Path
    weights: str | None = None


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
    weights = entry.get('Weights')
    if weights and '://' not in weights and not Path(weights).exists() and (root / weights).exists():
        weights = str(root / weights)
    return IndexedModel(entry['Name'], root / entry['Config'], weights)


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
