"""A block computes what its parts say: in training, in evaluation and fused, also after a part was changed."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize, prune
from torchvision.ops import StochasticDepth

from mmhyena.layers import BidirectionalHyena, HyenaPixel, LongConv, MetaFormerBlock
from mmhyena.layers.cpu_inference import fuse_blocks
from mmhyena.layers.metaformer import Mlp

MIXERS = {
    'hpx': dict(type='HyenaPixel', kernel_size=9, position_dim=8, norm=True),
    'hb': dict(type='BidirectionalHyena', l_max=40, position_dim=9, width=16),
    'conv': dict(type='SepConv'),
    'attention': dict(type='Attention', head_dim=8),
}
MODES = ('train', 'eval', 'no_grad', 'fused')


def make_block(name='hpx', **kwargs):
    """A block in which no parameter of the shell hides behind its initial value."""
    torch.manual_seed(0)
    block = MetaFormerBlock(16, MIXERS[name], **dict(dict(res_scale=True), **kwargs))
    for part in (block.norm1, block.norm2, block.res_scale1, block.res_scale2, block.mlp.act):
        for parameter in part.parameters():
            nn.init.normal_(parameter)
    return block


def by_parts(block, x):
    """What a block computes according to its parts, each of which is called."""
    x = block.res_scale1(x) + block.drop_path1(block.token_mixer(block.norm1(x)))
    mlp, x_norm = block.mlp, block.norm2(x)
    mixed = mlp.fc2(mlp.act(mlp.fc1(x_norm))) if type(mlp) is Mlp and not mlp._forward_hooks else mlp(x_norm)
    return block.res_scale2(x) + block.drop_path2(mixed)


class LayerScale(nn.Module):
    """As in ConvNeXt and in fine-tuning: the parameter is called gamma."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels))

    def forward(self, x):
        return x * self.gamma


class LoRALinear(nn.Linear):
    """A layer with a low-rank adapter; a subclass, as adapters often are."""

    def __init__(self, layer, rank=2):
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.load_state_dict(layer.state_dict())
        self.a = nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = nn.Parameter(torch.randn(layer.out_features, rank))

    def forward(self, x):
        return super().forward(x) + x @ self.a.T @ self.b.T


def square(module, args, output):
    return output.square() + 0.5  # a factor would vanish in the norm behind it


def biased(layer):
    new = nn.Linear(layer.in_features, layer.out_features)
    nn.init.normal_(new.bias)
    return new


def replace(path, make):
    def change(block):
        parent, _, name = path.rpartition('.')
        setattr(block.get_submodule(parent), name, make(block.get_submodule(path)))

    return change


def hook(path, register='register_forward_hook', function=square):
    return lambda block: getattr(block.get_submodule(path), register)(function)


def forward_on_instance(path):
    def change(block):
        part = block.get_submodule(path)
        inner = part.forward
        part.forward = lambda x: 3 * inner(x)

    return change


def biased_norm(norm):
    new = nn.LayerNorm(norm.normalized_shape, eps=0.1)
    for parameter in new.parameters():
        nn.init.normal_(parameter)
    return new


LINEARS = ('mlp.fc1', 'mlp.fc2', 'token_mixer.in_proj', 'token_mixer.out_proj')
CALLED = (*LINEARS, 'norm1', 'norm2', 'mlp', 'mlp.act', 'token_mixer', 'token_mixer.short_conv', 'res_scale1')
CALLED = (*CALLED, 'token_mixer.gate_norm', 'token_mixer.out_norm', 'token_mixer.long_conv', 'res_scale2', 'drop_path1')

CHANGES = {
    'none': lambda block: None,
    **{f'{path} with a bias': replace(path, biased_norm) for path in ('norm1', 'norm2', 'token_mixer.gate_norm')},
    **{f'{path} with a bias': replace(path, biased) for path in LINEARS},
    **{f'{path} with an adapter': replace(path, LoRALinear) for path in LINEARS},
    **{f'LayerScale as {path}': replace(path, lambda _: LayerScale(16)) for path in ('drop_path1', 'drop_path2')},
    **{f'LayerScale as {path}': replace(path, lambda _: LayerScale(16)) for path in ('res_scale1', 'res_scale2')},
    **{f'hook on {path}': hook(path) for path in CALLED},
    **{
        f'pre-hook on {path}': hook(path, 'register_forward_pre_hook', lambda part, args: (args[0].square(),))
        for path in ('mlp.fc1', 'mlp.act', 'norm2', 'token_mixer.in_proj', 'res_scale2')
    },
    **{f'forward of {path} on the instance': forward_on_instance(path) for path in (*LINEARS, 'norm2', 'mlp.act')},
    'another activation': replace('mlp.act', lambda _: nn.GELU()),
    'another norm': replace('norm2', lambda _: nn.LayerNorm((7, 16))),
    'no norm': replace('norm2', lambda _: nn.Identity()),
    'another MLP': replace('mlp', lambda _: nn.Linear(16, 16)),
    'dilated short convolution': lambda block: (
        block.token_mixer.short_conv.__setattr__('dilation', (2, 2))
        or block.token_mixer.short_conv.__setattr__('padding', (4, 4))
    ),
    'plain short convolution': replace('token_mixer.short_conv', lambda old: nn.Conv2d(48, 48, 7, padding=3)),
    'parametrized fc1': lambda block: parametrize.register_parametrization(block.mlp.fc1, 'weight', nn.Tanh()),
    'pruned fc2': lambda block: prune.random_unstructured(block.mlp.fc2, 'weight', 0.5),
}


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('change', CHANGES)
def test_a_changed_part_counts(change, mode):
    block, x = make_block(), torch.randn(2, 6, 7, 16)
    unchanged = by_parts(block, x)
    CHANGES[change](block)
    block.train(mode == 'train')
    if mode == 'fused':
        fuse_blocks(block)
    with contextlib.nullcontext() if mode in ('train', 'eval') else torch.no_grad():
        got, want = block(x), by_parts(block, x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert torch.allclose(want, unchanged, rtol=1e-3, atol=1e-3) == (change == 'none')


@pytest.mark.parametrize('mode', MODES)
def test_hooks_on_all_modules_see_every_call(mode):
    block, x, seen = make_block(), torch.randn(1, 6, 7, 16), []
    block.train(mode == 'train')
    if mode == 'fused':
        fuse_blocks(block)
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: seen.append(module))
    try:
        with contextlib.nullcontext() if mode in ('train', 'eval') else torch.no_grad():
            block(x)
    finally:
        handle.remove()
    called = {name for name, module in block.named_modules() if module in seen}
    kernel = {name for name, _ in block.named_modules() if name.startswith('token_mixer.long_conv.')}
    assert called | kernel == {name for name, _ in block.named_modules()}


@pytest.mark.parametrize('path', ['mlp.fc1', 'mlp.act', 'mlp.fc2', 'mlp', 'token_mixer.short_conv'])
@pytest.mark.parametrize('register', ['register_full_backward_hook', 'register_full_backward_pre_hook'])
def test_backward_hooks_of_parts_run(path, register):
    block, seen = make_block(), []
    getattr(block.get_submodule(path), register)(lambda module, *grads: seen.append(module) or None)
    block(torch.randn(1, 6, 7, 16, requires_grad=True)).sum().backward()
    assert seen == [block.get_submodule(path)]


@pytest.mark.parametrize('name', MIXERS)
def test_gradients_are_those_of_the_parts(name):
    block, x = make_block(name).double(), torch.randn(2, 6, 7, 16, dtype=torch.float64, requires_grad=True)
    block.mlp.fc1.register_forward_hook(lambda *_: None)  # the parts are called, one by one
    inputs, direction = [x, *block.parameters()], torch.randn(2, 6, 7, 16, dtype=torch.float64)
    want = torch.autograd.grad(block(x), inputs, direction)
    block.mlp.fc1._forward_hooks.clear()
    for a, b in zip(torch.autograd.grad(block(x), inputs, direction), want, strict=True):
        torch.testing.assert_close(a, b)


def test_mlp_is_fused_in_training_only_if_unmodified():
    mlp, x = Mlp(16), torch.randn(5, 16)

    def saved():
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            mlp(x)
        return sum(size == 5 * 64 for size in sizes)  # hidden activations

    assert saved() == 1
    with torch.no_grad():
        assert saved() == 0
    mlp.fc2.register_forward_hook(lambda *_: None)
    assert saved() == 2


def test_drop_path_skips_whole_samples_in_training_alone():
    block, x = make_block(drop_path_rate=0.5), torch.randn(64, 2, 2, 16)
    assert type(block.drop_path1) is StochasticDepth
    block.drop_path2.p = 1.0
    with torch.no_grad():
        mixed = block(x) / block.res_scale2(torch.ones(16))
    kept = (mixed - block.res_scale1(x)).flatten(1).abs().amax(1) > 1e-4
    assert 10 < kept.sum() < 54
    with torch.no_grad():
        torch.testing.assert_close(block.eval()(x), by_parts(block, x))


@pytest.mark.parametrize('name', ['hpx', 'hb'])
def test_checkpointing_makes_the_kernel_once(name, monkeypatch):
    plain, saving = make_block(name), make_block(name, with_cp=True)
    calls, kernel = [], LongConv.kernel
    monkeypatch.setattr(LongConv, 'kernel', lambda self, size: calls.append(self) or kernel(self, size))
    x, grads = torch.randn(2, 6, 7, 16), []
    for block in (plain, saving):
        block(x).square().sum().backward()
        grads.append([p.grad for p in block.parameters()])
    assert len(calls) == 2
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b)


def test_a_mixer_need_not_derive_from_ours():
    class Shift(nn.Module):
        def forward(self, x, prepared=None):
            return x.roll(1, dims=2)

    block, x = make_block('conv'), torch.randn(2, 5, 6, 16)
    block.token_mixer = Shift()
    want = by_parts(block, x)
    torch.testing.assert_close(block(x), want)
    fuse_blocks(block)
    with torch.no_grad():
        torch.testing.assert_close(block(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('mixer', [HyenaPixel(8, 9, 8), BidirectionalHyena(8, 40, 9, 16)])
def test_input_gradient_of_frozen_mixer(mixer):
    x = torch.randn(1, 6, 7, 8, requires_grad=True)
    mixer.eval()
    want = torch.autograd.grad(mixer(x).square().sum(), x)[0]
    mixer.requires_grad_(False)
    got = torch.autograd.grad(mixer(x).square().sum(), x)[0]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_mlp_equals_its_formula():
    mlp, x = make_block().mlp, torch.randn(3, 5, 16)
    hidden = mlp.act.scale * F.relu(F.linear(x, mlp.fc1.weight)).square() + mlp.act.bias
    torch.testing.assert_close(mlp(x), F.linear(hidden, mlp.fc2.weight))
