"""What the tests of operators share: memory that nobody wrote to is full of NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor


def _poisoned(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def empty(*args: Any, **kwargs: Any) -> Tensor:
        tensor = function(*args, **kwargs)
        if type(tensor) is Tensor and tensor.is_floating_point() and not tensor.is_meta:
            with torch.no_grad():
                tensor.fill_(float('nan'))
        return tensor

    return empty


@pytest.fixture(autouse=True)
def _nan_in_uninitialized_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill what ``torch.empty`` and its like return with NaN, so that a read of uninitialized memory is seen."""
    for owner, names in (
        (torch, ('empty', 'empty_like', 'empty_strided')),
        (Tensor, ('new_empty', 'new_empty_strided')),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, _poisoned(getattr(owner, name)))
