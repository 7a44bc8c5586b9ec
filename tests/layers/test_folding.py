"""What the shell does in evaluation and under checkpointing against its elementary steps."""

import copy

import pytest
import torch

from mmhyena.layers import BidirectionalHyena, HyenaPixel, LongConv, MetaFormerBlock
from mmhyena.ops import map_bands

MIXERS = {
    'hpx': dict(type='HyenaPixel', kernel_size=9, position_dim=8, norm=True),
    'hb': dict(type='BidirectionalHyena', l_max=40, position_dim=9, width=16),
    'conv': dict(type='SepConv'),
}


def block(name, **kwargs):
    torch.manual_seed(0)
    module = MetaFormerBlock(16, MIXERS[name], res_scale=True, **kwargs)
    torch.nn.init.normal_(module.res_scale2.scale)
    torch.nn.init.normal_(module.norm2.weight)
    return module


@pytest.mark.parametrize('name', MIXERS)
def test_evaluation_equals_training_without_randomness(name):
    module, x = block(name), torch.randn(2, 8, 12, 16)
    before = x.clone()
    want = module(x)  # training mode records every step
    with torch.no_grad():
        got = module.eval()(x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert torch.equal(x, before)


@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('res_scale', [False, True])
@pytest.mark.parametrize('shape', [(2, 9, 7, 16), (1, 3, 20, 16), (3, 1, 1, 16)])
def test_large_maps_in_bands_equal_the_whole(name, res_scale, shape, monkeypatch):
    torch.manual_seed(0)
    module, x = MetaFormerBlock(16, MIXERS[name], res_scale=res_scale).eval(), torch.randn(shape)
    torch.nn.init.normal_(module.norm1.weight)
    for part in (module.res_scale1, module.token_mixer.in_proj):
        for p in part.parameters():
            torch.nn.init.normal_(p)
    with torch.no_grad():
        want = module(x)
        monkeypatch.setattr('mmhyena.ops.cpu.bands.LARGE', 0)
        monkeypatch.setattr('mmhyena.ops.cpu.bands.BAND', 48 * 30)
        torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5)


def test_large_maps_are_whole_for_hooks_and_other_parts(monkeypatch):
    monkeypatch.setattr('mmhyena.ops.cpu.bands.LARGE', 0)
    bands = []
    monkeypatch.setattr(
        'mmhyena.layers.gated_mixer.map_bands', lambda *args, **kwargs: bands.append(args) or map_bands(*args, **kwargs)
    )
    x, seen = torch.randn(1, 6, 6, 16), []
    with torch.no_grad():
        want = block('hpx').eval()(x)
        assert len(bands) == 1
        for path in ('norm1', 'token_mixer', *(f'token_mixer.{n}' for n in ('in_proj', 'short_conv', 'gate_norm'))):
            module = block('hpx').eval()
            module.get_submodule(path).register_forward_hook(lambda part, args, out: seen.append(part))
            torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5)
        assert len(seen) == 5 and len(bands) == 1
        module = block('hpx').eval()
        module.norm1 = torch.nn.Sequential(module.norm1, torch.nn.Identity())
        torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5)
        assert len(bands) == 1


def test_a_mixer_need_not_derive_from_ours():
    class Shift(torch.nn.Module):
        def forward(self, x, prepared=None):
            return x.roll(1, dims=2)

    module, x = block('conv'), torch.randn(2, 5, 6, 16)
    module.token_mixer = Shift()
    want = module(x)
    with torch.no_grad():
        torch.testing.assert_close(module.eval()(x), want, rtol=1e-4, atol=1e-5)


def test_hooks_are_called_and_hooked_parts_replaced():
    module, x = block('hpx').eval(), torch.randn(1, 6, 6, 16)
    seen = []
    with torch.no_grad():
        want = module(x)
        for part in (
            module.norm2,
            module.mlp,
            module.mlp.fc1,
            module.mlp.act,
            module.mlp.fc2,
            module.token_mixer.in_proj,
        ):
            part.register_forward_hook(lambda part, args, out: seen.append(part))
        torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5)
        assert len(seen) == 6
        module.mlp.fc2 = torch.nn.Sequential(module.mlp.fc2, torch.nn.Identity())
        torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', MIXERS)
def test_weights_changed_in_place_are_seen(name):
    module, x = block(name).eval(), torch.randn(1, 6, 6, 16)
    with torch.no_grad():
        module(x)
    for p in module.parameters():
        p.data.mul_(1.5)
    with torch.no_grad():
        torch.testing.assert_close(module(x), copy.deepcopy(module)(x))


@pytest.mark.parametrize('name', ['hpx', 'hb'])
def test_checkpointing_makes_the_kernel_once(name, monkeypatch):
    plain, saving = block(name), block(name, with_cp=True)
    calls, kernel = [], LongConv.kernel
    monkeypatch.setattr(LongConv, 'kernel', lambda self, size: calls.append(self) or kernel(self, size))
    x, grads = torch.randn(2, 6, 7, 16), []
    for module in (plain, saving):
        module(x).square().sum().backward()
        grads.append([p.grad for p in module.parameters()])
    assert len(calls) == 2
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('mixer', [HyenaPixel(8, 9, 8), BidirectionalHyena(8, 40, 9, 16)])
def test_input_gradient_of_frozen_mixer(mixer):
    x = torch.randn(1, 6, 7, 8, requires_grad=True)
    mixer.eval()
    want = torch.autograd.grad(mixer(x).square().sum(), x)[0]
    mixer.requires_grad_(False)
    got = torch.autograd.grad(mixer(x).square().sum(), x)[0]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
