"""Every architecture through the same invariants."""

import copy

import pytest
import torch
from torch import nn

from mmhyena.backbones import HyenaFormer
from mmhyena.registry import MODELS

# Millions, arXiv 2402.19305 table 2 and the official code: learnable ones, and for 2-D filters the frozen distances.
PUBLISHED = {
    'hpx_former_s18': 29.34,
    'hpx_former_b36': 104.64,
    'hb_former_s18': 28.25,
    'hb_former_b36': 102.42,
    'c_hpx_former_s18': 27.75,
    'hpx_a_former_s18': 27.93,
    'hb_a_former_s18': 27.17,
}
TINY = ['hpx_former_tiny', 'hb_former_tiny']


TOY = dict(depths=(1,) * 4, channels=(8,) * 4, token_mixers=[dict(type='SepConv')] * 4)


def small(name: str) -> dict:
    """The mixers of an architecture in a shell that is quick to run."""
    arch = copy.deepcopy(HyenaFormer.arch_settings[name])
    return dict(depths=(1, 1, 2, 1), channels=(32, 32, 64, 64), token_mixers=arch['token_mixers'])


def head_size(dim: int, classes: int = 1000) -> int:
    return dim * 4 * dim + 4 * dim + 2 * 4 * dim + 4 * dim * classes + classes


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameter_count_is_published(name, add_row):
    with torch.device('meta'):
        model = HyenaFormer(name, out_indices=(3,), gap_before_final_norm=True)
    learnable = sum(p.numel() for p in model.parameters()) + head_size(model.embed_dims[-1])
    frozen = sum(b.numel() for key, b in model.named_buffers() if key.endswith('distance') and b.dim() == 2)
    add_row('Parameters', arch=name, learnable=learnable, frozen=frozen, published=f'{PUBLISHED[name]}M')
    assert f'{(learnable + frozen) / 1e6:.2f}' == f'{PUBLISHED[name]:.2f}'


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (64, 40)])
@pytest.mark.parametrize('name', HyenaFormer.arch_settings)
def test_shapes_and_gradients(name, size):
    model = HyenaFormer(small(name))
    outs = model(torch.randn(2, 3, *size))
    expected = [(n + 1) // 4 for n in size]
    for i, out in enumerate(outs):
        assert out.shape == (2, model.embed_dims[i], *expected)
        assert out.is_contiguous()
        expected = [(n + 1) // 2 for n in expected]
    sum(out.square().sum() for out in outs).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize('indices', [(0,), (1, 3), [2], (0, 1, 2, 3), (-1,), -1, 2])
def test_out_indices_have_their_norm_and_no_other(indices):
    model = HyenaFormer('hpx_former_tiny', out_indices=indices)
    outs = model(torch.randn(1, 3, 64, 64))
    chosen = sorted(i % 4 for i in ([indices] if isinstance(indices, int) else indices))
    assert [out.shape[1:] for out in outs] == [
        (model.embed_dims[i], 64 // (4 * 2**i), 64 // (4 * 2**i)) for i in chosen
    ]
    assert {name for name, _ in model.named_children() if name.startswith('norm')} == {f'norm{i}' for i in chosen}


@pytest.mark.parametrize('name', TINY)
def test_checkpointing_changes_nothing(name):
    torch.manual_seed(0)
    plain = HyenaFormer(name)
    recomputing = HyenaFormer(name, with_cp=True)
    recomputing.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 48, 64)
    for model in (plain, recomputing):
        sum(out.square().mean() for out in model(x)).backward()
    for (key, a), b in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)


def test_checkpointing_makes_each_kernel_once():
    model = HyenaFormer('hpx_former_tiny', with_cp=True)
    calls = []
    model.stages[0][0].token_mixer.long_conv.filter.register_forward_hook(lambda *_: calls.append(1))
    model(torch.randn(1, 3, 32, 32))[-1].sum().backward()
    assert len(calls) == 1


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2, 4])
def test_frozen_stages(frozen):
    model = HyenaFormer('hpx_former_tiny', frozen_stages=frozen).train()
    for i in range(4):
        trainable = [p.requires_grad for p in (*model.stages[i].parameters(), *getattr(model, f'norm{i}').parameters())]
        assert set(trainable) == {i >= frozen}
        stem_frozen = i == 0 and frozen == 0
        assert {p.requires_grad for p in model.downsample_layers[i].parameters()} == {i >= frozen and not stem_frozen}
        assert model.stages[i].training == (i >= frozen)
    before = [p.detach().clone() for p in model.parameters()]
    trainable = [p for p in model.parameters() if p.requires_grad]
    if trainable:
        optimizer = torch.optim.SGD(trainable, lr=1.0)
        sum(out.mean() * i for i, out in enumerate(model(torch.randn(1, 3, 32, 32)), 1)).backward()
        optimizer.step()
    for old, parameter in zip(before, model.parameters(), strict=True):
        assert parameter.requires_grad or torch.equal(old, parameter)


def test_norm_eval_keeps_batch_norms_of_a_mixer_fixed():
    @MODELS.register_module()
    class NormOnly(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.norm = nn.BatchNorm2d(channels)

        def forward(self, x, prepared=None):
            return self.norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    try:
        arch = dict(depths=(1, 1, 1, 1), channels=(4, 4, 4, 4), token_mixers=[dict(type='NormOnly')] * 4)
        for norm_eval in (True, False):
            model = HyenaFormer(arch, norm_eval=norm_eval).train()
            model(torch.randn(2, 3, 32, 64))
            fixed = model.stages[0][0].token_mixer.norm.num_batches_tracked == 0
            assert fixed == norm_eval
    finally:
        del MODELS._module_dict['NormOnly']


def test_drop_path_rises_to_its_rate_and_rests_in_eval():
    model = HyenaFormer('hpx_former_tiny', drop_path_rate=0.5)
    rates = [getattr(block.drop_path1, 'p', 0.0) for stage in model.stages for block in stage]
    assert rates == pytest.approx(torch.linspace(0, 0.5, 10).tolist())
    x = torch.randn(4, 3, 32, 32)
    assert not torch.equal(model.train()(x)[-1], model(x)[-1])
    model.eval()
    torch.testing.assert_close(model(x)[-1], model(x)[-1])


def test_initial_forward_is_sane():
    torch.manual_seed(0)
    for name in TINY:
        outs = HyenaFormer(name).eval()(torch.randn(1, 3, 64, 64))
        assert all(0.5 < out.std() < 2 for out in outs)  # normalized maps


@pytest.mark.parametrize(
    'kwargs,error',
    [
        (dict(arch='hpx_former_xxl'), 'choose one of hpx_former_tiny'),
        (dict(arch=dict(depths=(1,) * 4, channels=(8,) * 4)), 'lacks token_mixers'),
        (
            dict(arch=dict(depths=(1,) * 3, channels=(8,) * 4, token_mixers=[{}] * 4)),
            'must be a list of 4, one',
        ),
        (dict(out_indices=(0, 4)), 'out_indices'),
        (dict(out_indices=(1, -3)), 'out_indices'),
        (dict(out_indices=()), 'out_indices'),
        (dict(out_indices='0'), "out_indices must be distinct stages from -4 to 3, got '0'"),
        (dict(out_indices=(0, 1.0)), 'out_indices'),
        (dict(out_indices=None), 'out_indices'),
        (dict(frozen_stages=5), 'frozen_stages must be an integer, -1 to 4, got 5'),
        (dict(frozen_stages=1.5), 'frozen_stages must be an integer'),
        (dict(frozen_stages=True), 'frozen_stages must be an integer'),
        (dict(drop_path_rate=1.0), 'drop_path_rate must be a number from 0 to below 1, got 1.0'),
        (dict(drop_path_rate=float('nan')), 'drop_path_rate'),
        (dict(drop_path_rate=-0.1), 'drop_path_rate'),
        (dict(in_channels=0), 'in_channels must be an integer, at least 1, got 0'),
        (dict(arch=['hpx_former_tiny']), 'arch .* is unknown; choose one of'),
        (dict(arch=dict(TOY, depths=(1, 1, 0, 1))), 'depths of arch must be .* at least 1'),
        (dict(arch=dict(TOY, channels=(8, 8, -8, 8))), 'channels of arch must be .* at least 1'),
        (dict(arch=dict(TOY, dims=(8,) * 4)), 'both channels and dims'),
        (dict(arch=dict(TOY, width=3)), 'arch does not take width; it takes channels, depths, token_mixers'),
        (dict(arch=dict(TOY, token_mixers=[dict(type='SepConf')] * 4)), "'SepConf' is not registered"),
        (dict(arch=dict(TOY, token_mixers=[dict(kernel_size=3)] * 4)), "needs a 'type'"),
        (dict(norm_cfg=dict(type='LNN')), "type of norm_cfg 'LNN' is unknown; choose one of LN, BN, SyncBN, GN"),
        (dict(norm_cfg=dict(eps=1e-5)), "norm_cfg must be a dict with 'type'"),
        (dict(norm_cfg=dict(type='LN', epsilon=1)), 'norm_cfg .* does not fit'),
    ],
)
def test_unfit_arguments_are_named(kwargs, error):
    with pytest.raises(ValueError, match=error):
        HyenaFormer(**{'arch': 'hpx_former_tiny', **kwargs})


def test_too_small_input_is_named():
    with pytest.raises(ValueError, match='at least 32 x 32 pixels, got 31 x 64'):
        HyenaFormer('hpx_former_tiny')(torch.randn(1, 3, 31, 64))


def test_layer_depth_covers_every_parameter_in_order():
    with torch.device('meta'):
        model = HyenaFormer('hpx_former_s18')
    depth = {key: model.get_layer_depth(f'backbone.{key}', 'backbone.') for key, _ in model.named_parameters()}
    assert {n for _, n in depth.values()} == {8}
    assert {layer for layer, _ in depth.values()} == set(range(8))
    assert depth['downsample_layers.0.conv.weight'][0] == 0
    assert depth['stages.0.2.norm1.weight'][0] == 1
    assert depth['downsample_layers.1.conv.weight'][0] == depth['stages.1.0.norm1.weight'][0] == 2
    assert depth['downsample_layers.2.conv.weight'][0] == 3
    assert [depth[f'stages.2.{i}.norm1.weight'][0] for i in range(9)] == [3] * 3 + [4] * 3 + [5] * 3
    assert depth['stages.3.0.norm1.weight'][0] == depth['downsample_layers.3.norm.weight'][0] == 6
    assert depth['norm0.weight'][0] == 7
    assert model.get_layer_depth('neck.conv.weight', 'backbone.') == (7, 8)
