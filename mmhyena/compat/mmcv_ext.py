"""Finds a fallback for ``mmcv._ext`` where mmcv was installed without its compiled operators.

The finder sits at the end of ``sys.meta_path``, so that it is asked only after the regular search has found no compiled
module. Nothing is imported until mmcv asks: the first ``import mmcv.ops`` loads :mod:`mmhyena.compat.mmcv_ext_ops`.
"""

import importlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

from mmhyena.compat.distributions import compiled_mmcv_command

EXT_NAME = 'mmcv._ext'
ORIGIN = 'mmhyena.compat.mmcv_ext_ops'

logger = logging.getLogger(__name__)


class UnsupportedOpError(NotImplementedError):
    """An mmcv operator was called that only the compiled ``mmcv._ext`` has."""


def unsupported_op(name: str) -> Callable[..., NoReturn]:
    """Return a function that raises :class:`UnsupportedOpError` for the mmcv operator ``name`` whenever it is called.

    mmcv checks at import that every operator is an attribute of ``mmcv._ext``, so the error has to wait for the call.
    """

    def op(*args, **kwargs) -> NoReturn:
        raise UnsupportedOpError(
            f'mmcv operator {name!r} is not among those that mmhyena takes from torch and torchvision; '
            f'it needs compiled mmcv: {compiled_mmcv_command()}'
        )

    op.__name__ = op.__qualname__ = name
    return op


class FallbackLoader(Loader):
    """Fills the module ``mmcv._ext`` with the operators of :mod:`mmhyena.compat.mmcv_ext_ops`."""

    def exec_module(self, module: ModuleType) -> None:
        """Add the supported operators; every other public name becomes :func:`unsupported_op` on first look-up."""
        ops = importlib.import_module(ORIGIN)
        for name in ops.__all__:
            setattr(module, name, getattr(ops, name))

        def module_getattr(name: str) -> Callable[..., NoReturn]:
            if name.startswith('_'):
                raise AttributeError(f'module {EXT_NAME!r} has no attribute {name!r}')
            op = unsupported_op(name)
            setattr(module, name, op)
            return op

        vars(module)['__getattr__'] = module_getattr
        _announce()


class FallbackFinder(MetaPathFinder):
    """Offers a spec for ``mmcv._ext`` and for nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the fallback's spec if ``fullname`` is ``mmcv._ext``, else None."""
        if fullname != EXT_NAME:
            return None
        return ModuleSpec(fullname, FallbackLoader(), origin=ORIGIN)


def install() -> None:
    """Put the finder at the end of ``sys.meta_path``, once; it takes effect only where ``mmcv._ext`` is absent."""
    if not any(isinstance(finder, FallbackFinder) for finder in sys.meta_path):
        sys.meta_path.append(FallbackFinder())


def _announce() -> None:
    # One line per run, not one per distributed rank or data loader worker.
    if os.environ.get('RANK', '0') == '0' and multiprocessing.parent_process() is None:
        logger.warning(
            'mmcv has no compiled operators: NMS, soft-NMS, RoIAlign, focal loss, deformable attention and deformable '
            'convolution come from torch and torchvision (mmhyena fallback), the others raise an error when called.'
        )
