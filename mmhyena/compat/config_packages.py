"""Configs of installed packages by name: ``mmhyena::shapes/x.py`` and ``mmseg::...`` in ``_base_``.

MMEngine finds the configs of a package by a table of package names, which lacks mmhyena, and in which OneDL's package
of mmseg has the name of OpenMMLab's. It also moves what is inherited from ``package::`` into the registries of that
package. Our configs are written for the registries of mmdet, mmseg and mmpretrain, as their ``default_scope`` says, so
theirs must stay as they are.
"""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path

from mmhyena.compat.distributions import TOOLKITS, installed_version
from mmhyena.errors import UserError

__all__ = ['config_folder', 'find_config', 'register_config_packages']

_PACKAGE = Path(__file__).resolve().parents[1]
_OWN = 'mmhyena'


def config_folder() -> Path:
    """Return the folder of our configs: ``.mim/configs`` in an installed package, ``configs`` in a clone.

    Raises:
        UserError: If there is neither.
    """
    folders = (_PACKAGE / '.mim' / 'configs', _PACKAGE.parent / 'configs')
    for folder in folders:
        if (folder / '_base_').is_dir():
            return folder
    raise UserError(f'the configs of mmhyena are in neither of {", ".join(map(str, folders))}: install it again')


def find_config(name: str) -> Path:
    """Return the file of ``name``, a path below our configs.

    Raises:
        UserError: If there is none, with the nearest names.
    """
    folder = config_folder()
    path = folder / name
    if path.is_file():
        return path
    names = [file.relative_to(folder).as_posix() for file in folder.rglob('*.py')]
    same = [other for other in names if other.rpartition('/')[2].removesuffix('.py') == Path(name).stem]
    near = same or difflib.get_close_matches(name, names, n=2)
    hint = f'did you mean {", ".join(f"{_OWN}::{other}" for other in near)}?' if near else '`mmhyena list configs`'
    raise UserError(f'there is no config {_OWN}::{name}: {hint}')


def register_config_packages() -> None:
    """Make MMEngine find ``mmhyena::`` and, in the OneDL distribution, every toolkit's ``package::``; once is enough.

    Imports ``mmengine.config``, which importing mmhyena must not do.
    """
    from mmengine.config import Config
    from mmengine.config.utils import MODULE2PACKAGE

    for toolkit in TOOLKITS:
        package = MODULE2PACKAGE.get(toolkit.name)
        if package and installed_version(package) is None and find_spec(toolkit.name) is not None:
            MODULE2PACKAGE[toolkit.name] = toolkit.name  # MMEngine also takes the name of a module
    inherited = Config._get_cfg_path
    if getattr(inherited, 'finds_mmhyena', False):
        return

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        scope, _, name = cfg_path.partition('::')
        if scope == _OWN and name:
            return str(find_config(name)), None
        return inherited(cfg_path, filename)

    get_cfg_path.finds_mmhyena = True  # type: ignore[attr-defined]
    Config._get_cfg_path = staticmethod(get_cfg_path)
