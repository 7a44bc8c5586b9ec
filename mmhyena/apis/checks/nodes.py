"""Walks through config values, and the dotted keys by which ``--cfg-options`` reaches what they find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.registry import Registry

__all__ = ['children', 'dicts', 'find_class', 'get', 'leaves', 'short_name', 'walk']


def children(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the key and the value of every entry of a dict, list or tuple."""
    if isinstance(node, dict):
        yield from ((str(key), value) for key, value in node.items())
    elif isinstance(node, (list, tuple)):
        yield from ((str(i), value) for i, value in enumerate(node))


def walk(node: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of everything inside a config value, the value itself first."""
    yield key, node
    for name, child in children(node):
        yield from walk(child, f'{key}.{name}' if key else name)


def dicts(node: Any, key: str = '') -> Iterator[tuple[str, dict]]:
    """Yield the dotted key of every dict inside a config value, and the dict."""
    yield from ((name, child) for name, child in walk(node, key) if isinstance(child, dict))


def leaves(node: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of everything that is neither a dict nor a list nor a tuple."""
    yield from ((name, child) for name, child in walk(node, key) if not isinstance(child, (dict, list, tuple)))


def get(node: Any, key: str) -> Any:
    """Return the value at a dotted key, or None."""
    for name in filter(None, key.split('.')):
        node = dict(children(node)).get(name)
    return node


def find_class(registry: Registry, type_: Any) -> Any:
    """Return the class that a config's ``type`` means in the default scope, or None."""
    if not isinstance(type_, str):
        return type_
    with registry.switch_scope_and_registry(None) as scoped:
        return scoped.get(type_)


def short_name(type_: Any) -> str:
    """Return the name of a class as a config has it, without its scope."""
    return str(getattr(type_, '__name__', type_)).rsplit('.', 1)[-1]
