"""Completing the configs of parts with arguments that the enclosing module knows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmhyena.registry import MODELS

__all__ = ['complete', 'takes']


def takes(config: Mapping[str, Any], argument: str) -> bool:
    """Whether the class of ``config`` takes ``argument``.

    Raises:
        ValueError: If ``config`` has no ``type``, or the type is not registered.
    """
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(f"the config of a part is a dict that needs a 'type', got {config!r}")
    cls = MODELS.get(config['type']) if isinstance(config['type'], str) else config['type']
    if cls is None:
        raise ValueError(f'{config["type"]!r} is not registered in mmhyena.registry.MODELS')
    return argument in inspect.signature(cls).parameters


def complete(config: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    """Return ``config`` with those arguments of ``known`` that its class takes and that it does not set itself."""
    return {name: value for name, value in known.items() if takes(config, name)} | dict(config)
