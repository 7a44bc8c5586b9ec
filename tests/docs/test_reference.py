"""The API reference names every class that a config can build, and every docstring it shows says something."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from mmhyena import registry
from mmhyena.registry import ToolkitRegistry

ROOT = Path(__file__).resolve().parents[2]
SHOWN = [
    name
    for page in sorted((ROOT / 'docs' / 'api').glob('*.md'))
    for name in re.findall(r'^::: (\S+)$', page.read_text(), flags=re.MULTILINE)
]
# Built by our own loops and transforms; nobody writes them into a config.
INTERNAL = {'ignore_stop_signals'}


def registered() -> set[str]:
    names: set[str] = set()
    for name in registry.__all__:
        part = getattr(registry, name)
        if isinstance(part, ToolkitRegistry):
            part.import_from_location()
            names |= {key for key, value in part.module_dict.items() if value.__module__.startswith('mmhyena.')}
            names |= set(part.toolkit_modules)
    return names


def test_every_registered_class_is_in_the_reference():
    assert registered() - {name.rsplit('.', 1)[1] for name in SHOWN} - INTERNAL == set()


@pytest.mark.parametrize('name', SHOWN)
def test_shown_objects_have_a_docstring(name: str):
    module, _, attribute = name.rpartition('.')
    try:
        shown = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        pytest.skip(str(error))
    assert len((inspect.getdoc(shown) or '').split()) >= 5
