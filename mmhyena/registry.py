"""Registries of the ``mmhyena`` scope.

``type='mmhyena.X'`` in a config makes MMEngine import this module, which knows where ``X`` is defined, so no config
needs ``custom_imports``. What needs MMEngine alone is imported on the first look-up. What is built on another
toolkit (heads on mmpretrain, say) is imported only when a name was not found before, so that a detector never needs
mmpretrain.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmengine import registry as root
from mmengine.registry import Registry

__all__ = [
    'DATASETS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'SCOPE',
]

SCOPE = 'mmhyena'


class ToolkitRegistry(Registry):
    """A registry with further locations for the classes that need an optional toolkit.

    Args:
        toolkit_locations: Modules imported when a name is not in ``locations``. An ``ImportError`` in one of them
            reaches the caller, since it names the toolkit that is missing.
    """

    def __init__(self, *args, toolkit_locations: Sequence[str] = (), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._toolkit_locations = list(toolkit_locations)

    def get(self, key: str):
        """Return the class registered as ``key``, importing the toolkit locations if it is not known yet."""
        self.import_from_location()
        if isinstance(key, str) and key.removeprefix(f'{SCOPE}.') not in self.module_dict:
            # One at a time, so that a name found in the first never pays for the second.
            while self._toolkit_locations and key.removeprefix(f'{SCOPE}.') not in self.module_dict:
                importlib.import_module(self._toolkit_locations[0])
                self._toolkit_locations.pop(0)
        return super().get(key)

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None) -> Iterator[Registry]:
        """Build what this registry is asked for in its own scope, also while a run's default scope is a toolkit's."""
        with super().switch_scope_and_registry(scope or SCOPE) as registry:
            yield registry


def _registry(parent: Registry, locations: Sequence[str] = (), toolkit_locations: Sequence[str] = ()) -> Registry:
    return ToolkitRegistry(
        parent.name, parent=parent, scope=SCOPE, locations=list(locations), toolkit_locations=toolkit_locations
    )


MODELS = _registry(
    root.MODELS, ['mmhyena.layers', 'mmhyena.backbones', 'mmhyena.necks', 'mmhyena.engine'], ['mmhyena.heads']
)
DATASETS = _registry(root.DATASETS, toolkit_locations=['mmhyena.datasets.classification', 'mmhyena.datasets.volumes'])
METRICS = _registry(root.METRICS, ['mmhyena.engine'])
HOOKS = _registry(root.HOOKS, ['mmhyena.engine'])
OPTIM_WRAPPERS = _registry(root.OPTIM_WRAPPERS, ['mmhyena.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = _registry(root.OPTIM_WRAPPER_CONSTRUCTORS, ['mmhyena.engine'])
PARAM_SCHEDULERS = _registry(root.PARAM_SCHEDULERS, ['mmhyena.engine'])
