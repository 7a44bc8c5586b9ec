"""A module computes what its parts say, whoever replaced or hooked them, in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from contract_cases import (
    BACKBONE_CASES,
    MAP,
    MIXER_CASES,
    PART_CASES,
    C,
    Case,
    assert_same,
    flat,
    relative_error,
    sweep,
)
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmhyena.layers import MetaFormerBlock, ViTBlock
from mmhyena.layers.nd_directions import Direction


class Tilted(nn.Module):
    """A part whose output is multiplied by fixed factors of 1 to 2; its other attributes are the part's own.

    The factors differ along every axis, or a norm behind the part would hide them.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.calls = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return tree_map(lambda out: tilt(out) if isinstance(out, Tensor) else out, self.inner(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)


def tilt(out: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return out * (1 + torch.rand(out.shape, generator=generator, dtype=out.dtype))


def callable_parts(module: nn.Module) -> Iterator[str]:
    """Yield the names of the parts that have a forward; a container's and a direction's parts are used one by one."""
    for name, part in module.named_modules():
        if name and not isinstance(part, (nn.ModuleList, Direction, nn.Dropout)):
            yield name


def check_every_part(build: Callable[[], nn.Module], inputs: list) -> None:
    want = flat(build()(*inputs))
    for name in callable_parts(build()):
        module = build()
        parent, _, child = name.rpartition('.')
        tilted = Tilted(module.get_submodule(name))
        setattr(module.get_submodule(parent), child, tilted)
        hooked: list[int] = []
        tilted.inner.register_forward_hook(lambda *_, seen=hooked: seen.append(1))
        outputs = []
        for training, grad in ((True, True), (False, True), (False, False)):
            tilted.calls, hooked[:] = 0, []
            with torch.set_grad_enabled(grad):
                outputs.append(flat(module.train(training)(*inputs)))
            assert tilted.calls >= 1 and len(hooked) == tilted.calls, (name, training, grad)
        assert max(map(relative_error, outputs[0], want)) > 1e-5, f'{name} has no effect'
        assert_same(outputs[1], outputs[0])
        assert_same(outputs[2], outputs[0])


@sweep(MIXER_CASES, PART_CASES)
def test_parts_of_mixers_filters_and_windows(case: Case):
    check_every_part(case.build, case.inputs())


@pytest.mark.slow
@sweep(BACKBONE_CASES)
def test_parts_of_backbones(case: Case):
    if case.config['type'] == 'TimmBackbone':
        pytest.skip('its parts are not ours')
    check_every_part(case.build, case.inputs())


@pytest.mark.parametrize('mixer', ['HyenaPixel-0', 'HyenaND-0', 'SepConv-0'])
@pytest.mark.parametrize('block', [MetaFormerBlock, ViTBlock])
def test_parts_of_blocks(block: type, mixer: str):
    config = {name: value for name, value in MIXER_CASES[mixer].config.items() if name != 'channels'}
    scales = dict(res_scale=True) if block is MetaFormerBlock else {}

    def build() -> nn.Module:
        torch.manual_seed(0)
        module = block(C, config, **scales)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        return module

    check_every_part(build, [torch.randn(MAP)])
