"""The official HyenaPixel code from a checkout of the user, with our weights, as a baseline for speed and memory.

Nothing of it is part of this project: ``git clone https://github.com/spravil/HyenaPixel`` and pass the folder.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import convert_official, revert_official
from mmhyena.errors import UserError

__all__ = ['OfficialFeatures']


class OfficialFeatures(nn.Module):
    """The official feature extractor with the weights of ``source``.

    Args:
        arch: Name of the architecture, the same in both.
        source: Our backbone.
        checkout: Folder of the repository.

    Raises:
        UserError: If the checkout cannot be imported, or has no such architecture.
    """

    def __init__(self, arch: str, source: HyenaFormer, checkout: str) -> None:
        super().__init__()
        build = getattr(_import_models(checkout), arch, None)
        if build is None:
            raise UserError(f'--official {checkout} has no architecture {arch}')
        self.code = build(features_only=True, out_indices=list(source.out_indices))
        weights = {f'backbone.{name}': tensor for name, tensor in source.state_dict().items()}
        self.code.load_state_dict(revert_official(weights))
        self._names = [name for name, _ in source.named_parameters()]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of ``x`` ``(B, 3, H, W)``."""
        return tuple(self.code(x))

    def gradient(self) -> Tensor:
        """Return the gradients of all parameters as one vector, in the order and the layouts of ours."""
        state = dict(self.code.state_dict())
        state.update({name: p.grad for name, p in self.code.named_parameters() if p.grad is not None})
        ours = {name.removeprefix('backbone.'): tensor for name, tensor in convert_official(state).items()}
        return torch.cat([ours[name].flatten() for name in self._names])


def _import_models(checkout: str) -> ModuleType:
    source = Path(checkout) / 'src'
    if not (source / 'hyenapixel' / 'models.py').is_file():
        raise UserError(f'--official {checkout} has no src/hyenapixel: clone https://github.com/spravil/HyenaPixel')
    sys.path.insert(0, str(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', FutureWarning)  # of timm, whose modules have moved
            return importlib.import_module('hyenapixel.models')
    except ImportError as error:
        raise UserError(f'--official {checkout} cannot be imported: {error} (it needs timm and einops)') from error
    finally:
        sys.path.remove(str(source))
