"""The cases of the contract: how to build every registered class, and what to feed it."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from mmhyena.registry import MODELS

C = 4
_ND = dict(map_size=(3, 4), filter_width=3)
_POSITION = dict(type='SinCosPosition', dim=4)

MIXERS = {
    'Attention': [dict(head_dim=2), dict(head_dim=2, qkv_bias=True, proj_bias=True)],
    'BidirectionalHyena': [
        dict(l_max=12, position_dim=3, width=3, norm=True),
        dict(l_max=5, position_dim=3, width=3, filter_resize=True),
    ],
    'DepthwiseMixer': [dict(kernel_size=3)],
    'HyenaND': [
        _ND,
        dict(_ND, order=3, filter='product', window='learned'),
        dict(_ND, filter_resize=False, window='sqrt'),
    ],
    'HyenaPixel': [
        dict(kernel_size=5, position_dim=4, norm=True),
        dict(kernel_size=(3, 7), position_dim=4, filter_resize=True),
    ],
    'LearnedMaskAttention': [
        dict(map_size=(3, 4), num_heads=2, rank=2),
        dict(map_size=(3, 4), num_heads=2, rank=2, normalization='softmax', roll='official'),
    ],
    'SepConv': [dict(), dict(kernel_size=3)],
    'WindowedMixer': [
        dict(mixer=dict(type='HyenaND', filter_width=3), window_size=3, block_index=1),
        dict(mixer=dict(type='HyenaPixel', kernel_size=3, position_dim=4), window_size=2),
    ],
}
DIRECTIONS = {
    'AlternatingDirection': [dict(), dict(block_index=1)],
    'CausalDirection': [dict()],
    'CenteredDirection': [dict()],
    'FourWayDirection': [dict(), dict(mix='channel')],
    'ParallelDirection': [dict(), dict(official=True)],
}
FILTERS = {
    'DirectFilter': [dict()],
    'ImplicitFilter': [dict(position=_POSITION, width=3, depth=2)],
    'JointFilter': [dict(width=3, depth=2), dict(width=3, depth=3, centered=True)],
    'ProductFilter': [dict(width=3, depth=2)],
}
WINDOWS = {
    'BidirectionalWindow': [dict()],
    'ExponentialWindow': [dict(), dict(learnable=True, per_axis=True, centered=True), dict(sqrt=True, shift=0.1)],
    'RadialWindow': [dict()],
    'SymmetricWindow': [dict(), dict(centered=True, sqrt=True)],
}
POSITIONS = {
    'AxialPosition': [dict(), dict(dim=5, centered=True)],
    'ComplexExponentialPosition': [dict(dim=3)],
    'SinCosPosition': [dict(dim=4)],
}
_ARCH = dict(depths=(1, 1, 2, 1), channels=(4, 4, 8, 8))
_FORMER_MIXERS = [
    dict(type='HyenaPixel', kernel_size=7, position_dim=4, norm=True),
    dict(type='BidirectionalHyena', l_max=16, position_dim=3, width=4),
    dict(type='HyenaND', map_size=2, filter_width=4, direction='alternating'),
    dict(type='SepConv'),
]
_VIT = dict(arch=dict(embed_dims=8, num_layers=2, num_heads=2), img_size=32, patch_size=8, out_indices=(0, 1))
BACKBONES = {
    'HyenaFormer': [dict(arch=dict(_ARCH, token_mixers=_FORMER_MIXERS))],
    'HyenaSwin': [
        dict(arch=_ARCH, img_size=32, token_mixer=dict(type='HyenaND', filter_width=4, direction='alternating'))
    ],
    'HyenaViT': [
        dict(_VIT, token_mixers='alternating', out_type='featmap'),
        dict(_VIT, arch=dict(_VIT['arch'], position='sincos'), token_mixers='attention', with_cls_token=True),
    ],
    'HyenaVolume': [dict(embed_dims=4, num_layers=2, ndim=2, img_size=16, patch_size=8, in_channels=3)],
    'TimmBackbone': [dict(model_name='test_convnext', norm_cfg=dict(type='LN', eps=1e-5))],
}
# Registered, and no part of a backbone.
OTHERS = {'EnsembleClassifier', 'InstanceTTAModel', 'MetaFormerClsHead', 'SimpleFeaturePyramid'}


class Case(NamedTuple):
    """A module to build, and the input of its forward: a tensor of some shape, or a kernel size."""

    config: dict
    shape: tuple[int, ...] = ()
    size: tuple[int, ...] = ()

    def build(self, seed: int = 0, **changes: Any) -> nn.Module:
        """Build with weights that all matter: zeros and tiny ones would hide what is not used."""
        torch.manual_seed(seed)
        if self.config['type'] == 'TimmBackbone':
            pytest.importorskip('timm')
        module = MODELS.build(copy.deepcopy(self.config | changes))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        return module

    def inputs(self) -> list:
        """Return what to call the module with."""
        return [torch.randn(self.shape)] if self.shape else [self.size]


def _cases(table: dict[str, list[dict]], **case: Any) -> dict[str, Case]:
    """Return a case for each entry of a table; ``config`` holds what all of them share."""
    shared = case.pop('config', {})
    return {
        f'{name}-{i}': Case(dict(settings, type=name, **shared), **case)
        for name, variants in table.items()
        for i, settings in enumerate(variants)
    }


def _part_cases() -> dict[str, Case]:
    """Filters, windows and positional encodings by themselves, at the built size and at another."""
    found = {}
    for name, variants in (FILTERS | WINDOWS | POSITIONS).items():
        built = (5,) if name in ('BidirectionalWindow', 'ComplexExponentialPosition') else (3, 5)
        config = dict(kernel_size=built) | (dict() if name in POSITIONS else dict(channels=C))
        for size in (built, tuple(n + 2 for n in built)):
            given = dict(shape=(C, *size)) if name in WINDOWS else dict(size=size)
            cases = _cases({name: variants}, config=config, **given)
            found |= {f'{key}-{"x".join(map(str, size))}': case for key, case in cases.items()}
    return found


def _hyena_nd_cases() -> dict[str, Case]:
    """Hyena N-D with each direction, filter and window."""
    parts = [('direction', DIRECTIONS), ('filter', FILTERS), ('window', WINDOWS)]
    return {
        f'HyenaND-{kind}={name}-{i}': Case(
            dict(_ND, type='HyenaND', channels=C, **{kind: dict(settings, type=name)}), MAP
        )
        for kind, table in parts
        for name, variants in table.items()
        if name != 'BidirectionalWindow'  # of one axis
        for i, settings in enumerate(variants)
        if not (kind == 'window' and settings.get('per_axis'))  # made for another filter
    }


MAP = (2, 3, 4, C)
MIXER_CASES = _cases(MIXERS, config=dict(channels=C), shape=MAP) | _hyena_nd_cases()
PART_CASES = _part_cases()
BACKBONE_CASES = _cases(BACKBONES, shape=(2, 3, 32, 41))


def sweep(*tables: dict[str, Case]) -> pytest.MarkDecorator:
    """Run a test for each case of the tables, as its argument ``case``."""
    cases = {name: case for table in tables for name, case in table.items()}
    return pytest.mark.parametrize('case', cases.values(), ids=cases)


def flat(outputs: Any) -> list[Tensor]:
    """Return a module's output as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def convert(inputs: list, to: torch.dtype) -> list:
    """Return inputs with their tensors in another precision."""
    return [x.to(to) if isinstance(x, Tensor) else x for x in inputs]


def assert_same(got: Any, want: Any, tolerance: float = 1e-4) -> None:
    """Compare outputs by the norm of their difference."""
    for a, b in zip(flat(got), flat(want), strict=True):
        assert a.shape == b.shape
        assert relative_error(a, b) < tolerance


def relative_error(got: Tensor, want: Tensor) -> float:
    """Return the norm of the difference over that of ``want``."""
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).norm() / want.norm().clamp_min(1e-12)) if got.numel() else 0.0


def parameter_gradients(module: nn.Module, inputs: list) -> dict[str, Tensor]:
    """Return the gradients of a fixed random projection of the outputs."""
    module.zero_grad()
    generator = torch.Generator().manual_seed(1)
    outputs = flat(module(*inputs))
    sum((out * torch.randn(out.shape, generator=generator)).sum() for out in outputs).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
