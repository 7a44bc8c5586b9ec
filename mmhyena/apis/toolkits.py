"""The three OpenMMLab toolkits, found from a config's ``default_scope``."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmhyena  # noqa: F401  (puts the fallback for mmcv._ext in place before a toolkit imports mmcv.ops)
from mmhyena.checkpoints import use_our_reader
from mmhyena.errors import UserError

__all__ = ['TOOLKITS', 'Toolkit', 'find_toolkit', 'use_toolkit']


@dataclass(frozen=True)
class Toolkit:
    """An OpenMMLab toolkit: registry scope (also the import name) and the task it is for."""

    scope: str
    task: str

    @property
    def installed(self) -> bool:
        """Whether the toolkit can be imported."""
        return importlib.util.find_spec(self.scope) is not None


TOOLKITS = {
    toolkit.scope: toolkit
    for toolkit in (
        Toolkit('mmpretrain', 'classification'),
        Toolkit('mmdet', 'detection'),
        Toolkit('mmseg', 'segmentation'),
    )
}


def find_toolkit(cfg: Config) -> Toolkit:
    """Return the toolkit that ``cfg`` is written for.

    Raises:
        UserError: If ``default_scope`` is missing or not one of the three toolkits.
    """
    scope = cfg.get('default_scope')
    if scope not in TOOLKITS:
        found = 'has no default_scope' if scope is None else f"has the unknown default_scope '{scope}'"
        raise UserError(f'config {cfg.filename or ""} {found}: set it to one of {", ".join(TOOLKITS)}')
    return TOOLKITS[scope]


def use_toolkit(cfg: Config) -> Toolkit:
    """Import the toolkit of ``cfg``, fill its registries and make its scope the default one.

    From then on MMEngine reads every checkpoint by our reader.

    Raises:
        UserError: If the toolkit is unknown or not installed.
    """
    toolkit = find_toolkit(cfg)
    if not toolkit.installed:
        raise UserError(
            f"{toolkit.task} needs {toolkit.scope}, which is not installed: pip install 'mmhyena[onedl]' "
            "(or 'mmhyena[openmmlab]', never both)"
        )
    importlib.import_module(f'{toolkit.scope}.utils').register_all_modules(init_default_scope=False)
    use_our_reader()
    init_default_scope(toolkit.scope)
    return toolkit
