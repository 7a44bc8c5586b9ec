"""Adds the ``.mim`` folder to what pyproject.toml describes.

OpenMMLab's tools look for a package's configs, scripts and model index in ``<package>/.mim``. Wheels get copies; an
editable install gets links, so that an edited config is the one that is found.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = 'mmhyena'
MIM_ITEMS = ('configs', 'tools', 'demo', 'model-index.yml')
# The last three set up a clone, which an installed package is not.
SKIPPED = ('__pycache__', '*.py[cod]', '*.pth', '*.log', 'lib', 'quickstart.sh', 'run_tests.sh')


def link_or_copy(source: Path, target: Path) -> None:
    """Links ``target`` to ``source`` relatively; copies where the system has no links."""
    try:
        target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=source.is_dir())
    except OSError:
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*SKIPPED))
    else:
        shutil.copy2(source, target)


class BuildWithMim(build_py):
    """``build_py`` that also fills ``mmhyena/.mim``."""

    def run(self) -> None:
        super().run()
        base = ROOT if self.editable_mode else Path(self.build_lib)
        folder = base / PACKAGE / '.mim'
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for source in self._mim_sources():
            place = link_or_copy if self.editable_mode else copy
            place(source, folder / source.name)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        folder = Path(self.build_lib) / PACKAGE / '.mim'
        return outputs + [str(path) for path in folder.rglob('*') if path.is_file()]

    @staticmethod
    def _mim_sources() -> list[Path]:
        return [ROOT / name for name in MIM_ITEMS if (ROOT / name).exists()]


setup(cmdclass={'build_py': BuildWithMim})
