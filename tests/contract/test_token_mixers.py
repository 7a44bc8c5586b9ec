"""What every registered token mixer has to do with maps of any size and layout, alone and in a block."""

from __future__ import annotations

import pytest
import torch
from contract_cases import MIXER_CASES, C, Case, assert_same, parameter_gradients, relative_error, sweep

from mmhyena.layers import MetaFormerBlock, ViTBlock


@sweep(MIXER_CASES)
@pytest.mark.parametrize('size', [(1, 1), (1, 5), (2, 1), (5, 4), (7, 3)], ids=str)
def test_mixers_on_odd_and_tiny_maps(case: Case, size: tuple[int, int]):
    module = case.build()
    x = torch.randn(2, *size, C, requires_grad=True)
    y = module(x)
    assert y.shape == x.shape and torch.isfinite(y).all()
    y.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert_same(module(x, module.prepare(size)), y, 1e-5)
    with torch.no_grad():
        assert_same(module.eval()(x), y)
        assert_same(module(x[:1]), y[:1])


@sweep(MIXER_CASES)
def test_mixers_on_any_layout_and_on_an_empty_batch(case: Case):
    module = case.build()
    (x,) = case.inputs()
    layouts = {
        'channels first': x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
        'rows last': x.transpose(1, 2).contiguous().transpose(1, 2),
        'every second': torch.stack([x, -x], dim=-1).flatten(-2)[..., ::2],
        'expanded': x[:1].expand(2, -1, -1, -1),
    }
    for mode in (True, False):
        module.train(mode)
        with torch.set_grad_enabled(mode):
            for name, layout in layouts.items():
                assert relative_error(module(layout), module(layout.contiguous())) < 1e-5, name
            empty = module(x[:0])
            assert empty.shape == (0, *x.shape[1:])
    module.train()(x[:0]).sum().backward()
    assert all(not p.grad.any() for p in module.parameters() if p.grad is not None)


@sweep(MIXER_CASES)
@pytest.mark.parametrize('block', [MetaFormerBlock, ViTBlock])
def test_checkpointed_blocks_are_equal(case: Case, block: type):
    config = {name: value for name, value in case.config.items() if name != 'channels'}
    torch.manual_seed(0)
    plain = block(C, config)
    recomputing = block(C, config, with_cp=True)
    recomputing.load_state_dict(plain.state_dict())
    (x,) = case.inputs()
    assert_same(recomputing(x), plain(x), 1e-6)
    want, got = (parameter_gradients(module, [x]) for module in (plain, recomputing))
    assert want.keys() == got.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-4, atol=1e-5, msg=name)
