"""Registries of the ``mmhyena`` scope.

``type='mmhyena.X'`` in a config makes MMEngine import this module, which knows where ``X`` is defined, so no config
needs ``custom_imports``. What needs MMEngine alone is imported on the first look-up. What is built on another toolkit
(heads on mmpretrain, say) is listed here by name and imported when that name is asked for, so a detector never needs
mmpretrain, and a misspelt name is "not in the registry" rather than a missing toolkit.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'FUNCTIONS',
    'HOOKS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'RUNNERS',
    'SCOPE',
    'STRATEGIES',
    'TRANSFORMS',
]

SCOPE = 'mmhyena'


class ToolkitRegistry(Registry):
    """A registry that also knows classes that need an optional toolkit.

    Args:
        toolkit_modules: The module that registers each of those classes, by the class's name. It is imported when the
            class is asked for; an ``ImportError`` reaches the caller, since it names the toolkit that is missing.
    """

    def __init__(self, *args: Any, toolkit_modules: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.toolkit_modules = dict(toolkit_modules or {})

    def get(self, key: str) -> Any:
        """Return the class registered as ``key``, or None, importing the module that registers it if need be."""
        self.import_from_location()
        if isinstance(key, str):
            name = key.removeprefix(f'{SCOPE}.')
            if name not in self.module_dict and name in self.toolkit_modules:
                importlib.import_module(self.toolkit_modules[name])
        return super().get(key)

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None) -> Iterator[Registry]:
        """Build what this registry is asked for in its own scope, also while a run's default scope is a toolkit's."""
        with super().switch_scope_and_registry(scope or SCOPE) as registry:
            yield registry


def _registry(
    parent: Registry, locations: Sequence[str] = (), toolkit_modules: Mapping[str, str] | None = None
) -> Registry:
    return ToolkitRegistry(
        parent.name, parent=parent, scope=SCOPE, locations=list(locations), toolkit_modules=toolkit_modules
    )


MODELS = _registry(
    root.MODELS,
    ['mmhyena.layers', 'mmhyena.backbones', 'mmhyena.necks', 'mmhyena.engine'],
    {'EnsembleClassifier': 'mmhyena.classifiers', 'MetaFormerClsHead': 'mmhyena.heads'},
)
DATASETS = _registry(
    root.DATASETS,
    ['mmhyena.engine'],
    toolkit_modules={
        'CIFAR10': 'mmhyena.datasets.classification',
        'CIFAR100': 'mmhyena.datasets.classification',
        'CelebA': 'mmhyena.datasets.classification',
        'ClassFolders': 'mmhyena.datasets.class_folders',
        'CocoByName': 'mmhyena.datasets.coco_by_name',
        'SolidVolumes': 'mmhyena.datasets.volumes',
        'TinyImageNet': 'mmhyena.datasets.classification',
    },
)
METRICS = _registry(
    root.METRICS, ['mmhyena.engine'], toolkit_modules={'CocoMetricByName': 'mmhyena.datasets.coco_by_name'}
)
DATA_SAMPLERS = _registry(root.DATA_SAMPLERS, ['mmhyena.engine'])
FUNCTIONS = _registry(root.FUNCTIONS, ['mmhyena.engine'])
TRANSFORMS = _registry(root.TRANSFORMS, ['mmhyena.datasets.reading'])
HOOKS = _registry(root.HOOKS, ['mmhyena.engine'])
LOOPS = _registry(root.LOOPS, ['mmhyena.engine'])
OPTIM_WRAPPERS = _registry(root.OPTIM_WRAPPERS, ['mmhyena.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = _registry(root.OPTIM_WRAPPER_CONSTRUCTORS, ['mmhyena.engine'])
PARAM_SCHEDULERS = _registry(root.PARAM_SCHEDULERS, ['mmhyena.engine'])
RUNNERS = _registry(root.RUNNERS, ['mmhyena.engine'])
STRATEGIES = _registry(root.STRATEGIES, ['mmhyena.engine'])
