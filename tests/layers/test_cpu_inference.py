"""The fused form of the blocks: what is fused, how it is computed, and what may happen to a fused model."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmhyena.apis import fuse_for_inference
from mmhyena.backbones import HyenaFormer
from mmhyena.errors import UserError
from mmhyena.layers import MetaFormerBlock, cpu_inference
from mmhyena.layers.cpu_inference import FusedMetaFormerBlock, fuse_blocks
from mmhyena.ops import cpu

MIXERS = {
    'hpx': dict(type='HyenaPixel', kernel_size=9, position_dim=8, norm=True),
    'hb': dict(type='BidirectionalHyena', l_max=40, position_dim=9, width=16),
    'conv': dict(type='SepConv'),
}
WITH_TILES = ('hpx', 'hb')


def make_block(name='hpx', **kwargs):
    torch.manual_seed(0)
    block = MetaFormerBlock(16, MIXERS[name], **dict(dict(res_scale=True), **kwargs)).eval()
    for part in (block.norm1, block.norm2, block.res_scale1, block.res_scale2, block.token_mixer.in_proj):
        for parameter in part.parameters():
            nn.init.normal_(parameter)
    return block


def make_fused(name='hpx', **kwargs):
    block = make_block(name, **kwargs)
    assert fuse_blocks(block).left == {}
    return block


@pytest.fixture
def fused_calls(monkeypatch):
    """The MLPs that ran as part of a fused block."""
    calls, run = [], cpu_inference.norm_mlp_residual
    monkeypatch.setattr(
        cpu_inference, 'norm_mlp_residual', lambda *args, **kwargs: calls.append(args) or run(*args, **kwargs)
    )
    return calls


@torch.no_grad()
@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('drop_path_rate', [0.0, 0.3])
@pytest.mark.parametrize('res_scale', [False, True])
@pytest.mark.parametrize('shape', [(2, 8, 12, 16), (1, 1, 1, 16), (0, 3, 4, 16)])
def test_fused_equals_elementary(name, shape, res_scale, drop_path_rate, fused_calls):
    block = make_block(name, res_scale=res_scale, drop_path_rate=drop_path_rate)
    x = torch.randn(shape)
    before, want = x.clone(), block(x)
    fuse_blocks(block)
    torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)
    assert torch.equal(x, before)
    assert len(fused_calls) == 1


@torch.no_grad()
@pytest.mark.parametrize('name', WITH_TILES)
@pytest.mark.parametrize('res_scale', [False, True])
@pytest.mark.parametrize('shape', [(2, 9, 7, 16), (1, 3, 20, 16), (3, 1, 1, 16)])
def test_large_maps_in_tiles_equal_the_whole(name, res_scale, shape, monkeypatch):
    block, x = make_block(name, res_scale=res_scale), torch.randn(shape)
    want, tiles, run = block(x), [], cpu_inference.map_tiles
    monkeypatch.setattr(cpu.tiles, 'LARGE', 0)
    monkeypatch.setattr(cpu.tiles, 'TILE', 48 * 30)
    monkeypatch.setattr(cpu_inference, 'map_tiles', lambda *args, **kwargs: tiles.append(args) or run(*args, **kwargs))
    fuse_blocks(block)
    torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)
    assert len(tiles) == 1


@torch.no_grad()
@pytest.mark.parametrize('make', [lambda x: x.transpose(1, 2), lambda x: x[:, ::2, 1:], lambda x: x.double()])
@pytest.mark.parametrize('name', MIXERS)
def test_any_layout_and_type(name, make):
    x = make(torch.randn(2, 6, 8, 16))
    block = make_block(name).to(x.dtype)
    want = block(x)
    fuse_blocks(block)
    torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_model(dtype):
    block, x = make_block().to(dtype), torch.randn(2, 6, 8, 16, dtype=dtype)
    try:
        want = block(x)
    except RuntimeError as error:
        if dtype == torch.float16 and 'not implemented for' in str(error):
            pytest.skip(f'this torch has no float16 on a CPU: {error}')
        raise
    fuse_blocks(block)
    got = block(x)
    assert got.dtype == dtype and (got - want).norm() < 0.02 * want.norm()


def under_autocast(model, x, dtype=torch.bfloat16):
    with torch.no_grad(), torch.autocast('cpu', dtype=dtype):
        return model(x)


@torch.no_grad()
@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('res_scale', [False, True])
@pytest.mark.parametrize('shape', [(2, 6, 8, 16), (1, 1, 1, 16), (1, 5, 9, 16)])
@pytest.mark.parametrize('in_tiles', [False, True])
def test_bfloat16_is_as_accurate_as_the_parts_under_autocast(
    name, res_scale, shape, in_tiles, fused_calls, monkeypatch
):
    block, x = make_block(name, res_scale=res_scale), torch.randn(shape)
    want, elementary = block(x), under_autocast(block, x)
    if in_tiles:
        monkeypatch.setattr(cpu.tiles, 'LARGE', 0)
        monkeypatch.setattr(cpu.tiles, 'TILE', 48 * 10)
    fuse_blocks(block)
    got = under_autocast(block, x)
    assert len(fused_calls) == 1 and got.dtype == torch.float32
    assert got.ne(want).any()
    assert (got - want).norm() < max(1.25 * (elementary - want).norm(), 0.004 * want.norm())


@torch.no_grad()
@pytest.mark.parametrize('arch', ['hpx_former_tiny', 'hb_former_tiny'])
def test_bfloat16_backbones_are_as_accurate_as_their_parts(arch):
    torch.manual_seed(0)
    model, x = HyenaFormer(arch=arch).eval(), torch.randn(2, 3, 96, 64)
    want, elementary = model(x), under_autocast(model, x)
    fuse_for_inference(model)
    for got, parts, exact in zip(under_autocast(model, x), elementary, want, strict=True):
        assert (got - exact).norm() <= (parts - exact).norm() < 0.05 * exact.norm()


@torch.no_grad()
@pytest.mark.parametrize('name', MIXERS)
def test_bfloat16_weights_follow_those_they_are_rounded_from(name):
    fused, other, x = make_fused(name), make_block(name), torch.randn(1, 6, 8, 16)
    before = under_autocast(fused, x)
    for parameter in other.parameters():
        parameter.mul_(1.5)
    fused.load_state_dict(other.state_dict())
    got, want = under_autocast(fused, x), other(x)
    assert (got - want).norm() < 0.03 * want.norm() < (got - before).norm()
    for parameter in fused.parameters():
        parameter.data.mul_(0.5)  # unseen by the version counter
    fused.eval()
    assert (under_autocast(fused, x) - got).norm() > 0.03 * got.norm()


@pytest.mark.parametrize('make', [lambda block: block.double(), lambda block: block.bfloat16()])
def test_autocast_of_other_types(make, fused_calls):
    block = make(make_block())
    x = torch.randn(2, 6, 8, 16).to(block.norm1.weight.dtype)
    want = under_autocast(block, x)
    fuse_blocks(block)
    got = under_autocast(block, x)
    assert (got - want).norm() <= 0.02 * want.norm()


@pytest.mark.skipif(not hasattr(torch, 'get_autocast_dtype'), reason='no float16 autocast on a CPU before torch 2.4')
def test_float16_autocast_runs_the_parts(fused_calls):
    block, x = make_block('conv'), torch.randn(2, 6, 8, 16)
    want = under_autocast(block, x, torch.float16)
    fuse_blocks(block)
    assert torch.equal(under_autocast(block, x, torch.float16), want) and not fused_calls


def test_gradients_and_graphs_run_the_parts(fused_calls):
    block, fused, x = make_block(), make_fused(), torch.randn(1, 6, 8, 16, requires_grad=True)
    for a, b in zip(*(torch.autograd.grad(m(x).square().sum(), [x, *m.parameters()]) for m in (block, fused))):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        traced = torch.jit.trace(fused, x, check_trace=False)
        assert not fused_calls
        torch.testing.assert_close(traced(x), block(x), rtol=1e-4, atol=1e-5)
        fused(x)
        assert len(fused_calls) == 1


def test_report_names_what_is_left_and_why(caplog):
    model = HyenaFormer(arch='hpx_former_tiny')
    model.stages[1][0].mlp.fc1 = nn.Linear(64, 256)
    model.stages[2][3].drop_path2 = nn.Dropout()
    model.stages[3][1].register_forward_hook(lambda *_: None)
    report = fuse_for_inference(model)
    assert len(report.fused) == 7 and not model.training
    assert report.left == {
        'stages.1.0': 'mlp.fc1: it has a bias',
        'stages.2.3': 'drop_path2: it is of type Dropout, not Identity or StochasticDepth',
        'stages.3.1': 'it has hooks',
    }
    assert str(report).startswith('7 of 10 MetaFormer blocks are fused for inference on a CPU; not fused: stages.1.0: ')
    assert {type(model.get_submodule(name)) for name in report.fused} == {FusedMetaFormerBlock}
    assert {type(model.get_submodule(name)) for name in report.left} == {MetaFormerBlock}
    assert fuse_for_inference(model).fused == report.fused  # again: nothing happens
    assert str(fuse_blocks(nn.Linear(2, 2))) == '0 of 0 MetaFormer blocks are fused for inference on a CPU'


def test_a_derived_block_is_left():
    class Twice(MetaFormerBlock):
        def forward(self, x):
            return 2 * super().forward(x)

    block = Twice(16, MIXERS['conv'])
    assert fuse_blocks(block).left == {'': 'it is of type Twice, not MetaFormerBlock'}


@pytest.mark.parametrize('wrap', [nn.Identity, lambda: HyenaFormer(arch='hb_former_tiny')])
def test_training_is_refused(wrap):
    model = nn.Sequential(make_fused(), wrap())
    fuse_blocks(model)
    assert model.eval() is model
    with pytest.raises(UserError, match='fused for inference and cannot be trained; build it again'):
        model.train()


@torch.no_grad()
def test_state_dict_copies_and_pickles():
    block, fused, x = make_block(), make_fused(), torch.randn(1, 6, 8, 16)
    assert list(fused.state_dict()) == list(block.state_dict())
    want = fused(x)
    for twin in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert type(twin) is FusedMetaFormerBlock
        assert torch.equal(twin(x), want)
    block.load_state_dict(fused.state_dict())
    torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('how', ['load_state_dict', 'in place'])
def test_weights_loaded_after_fusing_take_effect(name, how):
    fused, other, x = make_fused(name), make_block(name), torch.randn(1, 6, 8, 16)
    before = fused(x)
    for parameter in other.parameters():
        parameter.mul_(1.5)
    if how == 'load_state_dict':
        fused.load_state_dict(other.state_dict())
    else:
        for parameter in fused.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(fused(x), other(x), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(fused(x), before, rtol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize('name', MIXERS)
def test_linear_weights_are_stored_by_columns_and_stay_so(name):
    fused, other = make_fused(name), make_block(name)
    fused.load_state_dict(other.state_dict())
    for block in (fused, copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        weights = [block.mlp.fc1.weight, block.mlp.fc2.weight]
        if name in WITH_TILES:
            weights += [block.token_mixer.in_proj.weight, block.token_mixer.out_proj.weight]
        assert all(weight.t().is_contiguous() for weight in weights)
    fused.load_state_dict(other.state_dict(), assign=True)  # by rows again: slower, not wrong
    x = torch.randn(1, 6, 8, 16)
    torch.testing.assert_close(fused(x), other(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_changes_after_fusing_are_seen(fused_calls):
    block, fused, x, seen = make_block(), make_fused(), torch.randn(1, 6, 8, 16), []
    for path in ('norm1', 'norm2', 'mlp', 'mlp.fc1', 'token_mixer.in_proj', 'token_mixer.gate_norm', 'drop_path2'):
        handle = fused.get_submodule(path).register_forward_hook(lambda part, args, output: seen.append(part))
        torch.testing.assert_close(fused(x), block(x), rtol=1e-4, atol=1e-5)
        assert seen.pop() is fused.get_submodule(path) and not seen
        handle.remove()
    fused_calls.clear()
    for model in (block, fused):
        model.mlp.fc1.bias = nn.Parameter(torch.ones(64))
    torch.testing.assert_close(fused(x), block(x), rtol=1e-4, atol=1e-5)
    assert not fused_calls


@torch.no_grad()
@pytest.mark.parametrize('arch', ['hpx_former_tiny', 'hb_former_tiny', 'hyena_nd_former_tiny'])
def test_backbones(arch, fused_calls):
    torch.manual_seed(0)
    model, x = HyenaFormer(arch=arch, drop_path_rate=0.1).eval(), torch.randn(1, 3, 96, 64)
    want = model(x)
    report = fuse_for_inference(model)
    assert len(report.fused) == 10 and not report.left
    for a, b in zip(model(x), want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert len(fused_calls) == 10
