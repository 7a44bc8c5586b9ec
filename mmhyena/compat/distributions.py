"""The two distributions of OpenMMLab's toolkits: which is installed, and whether both are.

OneDL's packages continue OpenMMLab's under the same import names, so the packages of both distributions own the same
files. Only the metadata of installed packages is read here; nothing is imported.
"""

import importlib.util
import logging
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import PathFinder

from mmhyena.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Toolkit:
    """One import name and the packages that provide it.

    Attributes:
        name: The import name.
        onedl: Package of the OneDL distribution.
        onedl_version: Its version that mmhyena is tested with.
        openmmlab: Package of the OpenMMLab distribution.
        openmmlab_version: Its version that mmhyena is tested with.
    """

    name: str
    onedl: str
    onedl_version: str
    openmmlab: str
    openmmlab_version: str


TOOLKITS = (
    Toolkit('mmcv', 'onedl-mmcv', '2.3.6', 'mmcv', '2.1.0'),
    Toolkit('mmengine', 'onedl-mmengine', '0.10.12', 'mmengine', '0.10.7'),
    Toolkit('mmdet', 'onedl-mmdetection', '3.5.1', 'mmdet', '3.3.0'),
    Toolkit('mmseg', 'onedl-mmsegmentation', '1.4.2', 'mmsegmentation', '1.2.2'),
    Toolkit('mmpretrain', 'onedl-mmpretrain', '1.3.6', 'mmpretrain', '1.2.0'),
)


OPENCV_PACKAGES = (
    'opencv-python',
    'opencv-python-headless',
    'opencv-contrib-python',
    'opencv-contrib-python-headless',
)
"""Packages that provide the module ``cv2``. Installed together they overwrite one another's files."""


class DistributionConflictError(RuntimeError):
    """Packages of both distributions are installed over each other."""


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def installed_distribution() -> str | None:
    """Return ``'onedl'``, ``'openmmlab'``, ``'mixed'`` (packages of both), or None if no toolkit is installed."""
    packages = {'onedl': [t.onedl for t in TOOLKITS], 'openmmlab': [t.openmmlab for t in TOOLKITS]}
    found = [distribution for distribution, names in packages.items() if any(map(installed_version, names))]
    return 'mixed' if len(found) == 2 else next(iter(found), None)


def conflicting_toolkits() -> list[Toolkit]:
    """Return the toolkits of which the packages of both distributions are installed."""
    return [t for t in TOOLKITS if installed_version(t.onedl) and installed_version(t.openmmlab)]


def check_distributions(raise_error: bool = True) -> list[Toolkit]:
    """Report packages of both distributions that are installed over each other, and how to repair that.

    Args:
        raise_error: Raise if there are any; otherwise log one warning.

    Returns:
        The conflicting toolkits; empty where all is well.

    Raises:
        DistributionConflictError: If ``raise_error`` and there is a conflict.
    """
    conflicts = conflicting_toolkits()
    if conflicts:
        message = _conflict_message(conflicts)
        if raise_error:
            raise DistributionConflictError(message)
        logger.warning(message)
    return conflicts


def opencv_warning() -> str | None:
    """Return a line that says how to keep one OpenCV package if several are installed, else None."""
    found = _installed(OPENCV_PACKAGES)
    if len(found) < 2:
        return None
    return (
        f'Several OpenCV packages own the same files and are installed over each other: {", ".join(found)}. '
        f'Run `pip uninstall -y {" ".join(found)}`, then `pip install opencv-python-headless`.'
    )


def _installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {package: installed_version(package) for package in packages}
    return {package: version for package, version in versions.items() if version is not None}


def _conflict_message(conflicts: list[Toolkit]) -> str:
    pairs = ', '.join(f'{t.onedl} and {t.openmmlab}' for t in conflicts)
    packages = ' '.join(f'{t.onedl} {t.openmmlab}' for t in conflicts)
    onedl = ' '.join(f'{t.onedl}=={t.onedl_version}' for t in conflicts)
    openmmlab = ' '.join(f'{t.openmmlab}=={t.openmmlab_version}' for t in conflicts)
    # mmcv 2.1 is built from source with a setuptools that still has pkg_resources.
    constraint = "echo 'setuptools<80' > build.txt && "
    return (
        f'Packages of both distributions own the same files and are installed over each other: {pairs}. '
        f'Run `pip uninstall -y {packages}`, then `pip install {onedl}` (OneDL, the default) '
        f'or `{constraint}pip install --build-constraint build.txt {openmmlab}` (OpenMMLab).'
    )


def compiled_mmcv_command() -> str:
    """Return the commands that build mmcv with its operators, for both distributions if none is installed."""
    mmcv = TOOLKITS[0]
    # A wheel without operators may sit in pip's cache under the same name and version.
    build = 'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps'
    commands = {
        'onedl': f"`pip install 'setuptools>=80,<82' wheel ninja && {build} {mmcv.onedl}=={mmcv.onedl_version}`",
        'openmmlab': f"`pip install 'setuptools<80' wheel ninja && {build} {mmcv.openmmlab}=={mmcv.openmmlab_version}`",
    }
    distribution = installed_distribution()
    if distribution in commands:
        return f'{commands[distribution]} (a C++ compiler and about ten minutes).'
    return f'{commands["onedl"]} (OneDL) or {commands["openmmlab"]} (OpenMMLab).'


def mmcv_ops_state() -> str:
    """Return ``'compiled'``, ``'fallback'`` or ``'not installed'`` for the operators of mmcv, without importing it."""
    spec = importlib.util.find_spec('mmcv')
    if spec is None or spec.submodule_search_locations is None:
        return 'not installed'
    compiled = PathFinder.find_spec('mmcv._ext', spec.submodule_search_locations)
    return 'fallback' if compiled is None else 'compiled'


def environment_report() -> dict[str, str]:
    """Return what is installed, in words, for logs and bug reports.

    Keys: ``mmhyena``, ``python``, ``platform``, ``torch``, ``torchvision``, ``numpy``, ``opencv``, ``distribution``,
    one per toolkit by import name, and ``mmcv ops`` (see :func:`mmcv_ops_state`).
    """
    report = {'mmhyena': __version__, 'python': platform.python_version(), 'platform': platform.platform()}
    for name in ('torch', 'torchvision', 'numpy'):
        report[name] = installed_version(name) or 'not installed'
    opencv = ', '.join(f'{package} {version}' for package, version in _installed(OPENCV_PACKAGES).items())
    report['opencv'] = opencv or 'not installed'
    report['distribution'] = installed_distribution() or 'no OpenMMLab package installed'
    for toolkit in TOOLKITS:
        versions = _installed((toolkit.onedl, toolkit.openmmlab))
        report[toolkit.name] = ', '.join(f'{d} {v}' for d, v in versions.items()) or 'not installed'
    report['mmcv ops'] = mmcv_ops_state()
    return report
