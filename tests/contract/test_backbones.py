"""What every registered backbone has to do with images of any size and layout."""

from __future__ import annotations

import pytest
import torch
from contract_cases import BACKBONE_CASES, Case, assert_same, parameter_gradients, relative_error, sweep


@sweep(BACKBONE_CASES)
@pytest.mark.parametrize('shape', [(1, 3, 32, 32), (1, 3, 33, 71), (0, 3, 32, 40)], ids=str)
def test_backbones_on_any_image(case: Case, shape: tuple[int, ...]):
    module = case.build()
    x = torch.randn(shape)
    outs = module(x)
    assert isinstance(outs, tuple) and len(outs) == len(module.out_indices)
    assert all(len(out) == len(x) and torch.isfinite(out).all() and out.is_contiguous() for out in outs)
    sum(out.square().sum() for out in outs).backward()
    for name, parameter in module.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    last = x.to(memory_format=torch.channels_last)
    assert_same(module(last), outs, 1e-5)
    assert_same(module(torch.cat([x, x], dim=1)[:, ::2]), module(x[:, [0, 2, 1]].contiguous()), 1e-5)


@sweep(BACKBONE_CASES)
def test_checkpointed_backbones_are_equal(case: Case):
    plain = case.build()
    recomputing = case.build(with_cp=True)
    inputs = case.inputs()
    assert_same(recomputing(*inputs), plain(*inputs), 1e-6)
    want, got = (parameter_gradients(module, inputs) for module in (plain, recomputing))
    assert want.keys() == got.keys()
    for name in want:
        assert relative_error(got[name], want[name]) < 1e-3, name


@sweep(BACKBONE_CASES)
def test_every_parameter_of_a_backbone_has_a_depth(case: Case):
    module = case.build()
    if not hasattr(module, 'get_layer_depth'):
        pytest.skip('has no layers to count')
    depths = [module.get_layer_depth(f'backbone.{name}', 'backbone.') for name, _ in module.named_parameters()]
    assert len({count for _, count in depths}) == 1
    assert {0, depths[0][1] - 1} <= {depth for depth, _ in depths} <= set(range(depths[0][1]))
