"""HyenaSwin, and HyenaFormer with Hyena N-D: shapes, sizes, directions, windows and what a user may ask of them."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmhyena.backbones import HyenaFormer, HyenaSwin
from mmhyena.layers import WindowedMixer
from mmhyena.registry import MODELS

SMALL = dict(depths=(1, 1, 4, 1), channels=(16, 32, 48, 64))


def swin(**kwargs):
    torch.manual_seed(0)
    return HyenaSwin(SMALL, **(dict(img_size=64) | kwargs))


def mixers(model):
    return [block.token_mixer for stage in model.stages for block in stage]


@pytest.mark.parametrize('size', [(32, 32), (64, 64), (33, 50), (71, 37)])
@pytest.mark.parametrize('window_size', [None, 3])
def test_strides_and_gradients_at_any_size(size, window_size):
    model = swin(window_size=window_size)
    outs = model(torch.randn(2, 3, *size))
    expected = [-(-n // 4) for n in size]
    for out, dim in zip(outs, SMALL['channels'], strict=True):
        assert out.shape == (2, dim, *expected) and out.is_contiguous()
        expected = [-(-n // 2) for n in expected]
    sum(out.square().sum() for out in outs).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key


# Parameters of Swin with a head for 1000 classes, arXiv 2103.14030 (28M, 50M, 88M) and torchvision.
SWIN = {'swin_tiny': 28_288_354, 'swin_small': 49_606_258, 'swin_base': 87_768_224}


@pytest.mark.parametrize('arch', SWIN)
def test_shell_is_that_of_swin(arch, add_row):
    """Whatever differs in the count is the mixers, and the norms of the first three outputs."""
    with torch.device('meta'):
        model = HyenaSwin(arch)
    total = sum(p.numel() for p in model.parameters())
    add_row('Parameters of HyenaSwin', arch=arch, millions=f'{total / 1e6:.3f}')
    mixing = sum(p.numel() for mixer in mixers(model) for p in mixer.parameters())
    shell = total - mixing - sum(2 * dim for dim in model.embed_dims[:3])
    attention = sum(
        depth * (4 * dim * dim + 4 * dim + 13 * 13 * dim // 32)
        for depth, dim in zip(model.depths, model.embed_dims, strict=True)
    )
    head = 1000 * model.embed_dims[-1] + 1000
    assert shell + attention + head == SWIN[arch]


@pytest.mark.parametrize('make', [swin, lambda: HyenaFormer('hyena_nd_former_tiny')], ids=['swin', 'former'])
def test_neighboring_blocks_look_in_opposite_directions(make):
    ways = [mixer.long_conv.direction.causal for mixer in mixers(make())]
    assert ways == [i % 2 == 1 for i in range(len(ways))]


def test_numbering_skips_other_mixers():
    attention = dict(type='Attention', head_dim=16)
    hyena = dict(type='HyenaND', map_size=4, direction='alternating')
    arch = dict(SMALL, token_mixers=[hyena, attention, hyena, attention])
    ways = [m.long_conv.direction.causal for m in mixers(HyenaFormer(arch)) if hasattr(m, 'long_conv')]
    assert ways == [False, True, False, True, False]


def test_whole_map_by_default_and_windows_on_request():
    x = torch.randn(1, 3, 64, 64)
    for window_size in (None, 4):
        model = swin(window_size=window_size, out_indices=(0,), token_mixer=dict(type='HyenaND', direction='four_way'))
        with torch.no_grad():
            model.stages[0][0].token_mixer.apply(lambda m: [nn.init.normal_(p) for p in m.parameters(recurse=False)])
        x.grad = None
        x.requires_grad_()
        model(x)[0][0, :, 0, 0].square().sum().backward()
        seen = x.grad[0].abs().amax(0) > 0
        reach = 64 if window_size is None else 4 * window_size
        assert seen[:reach, :reach].any(1).all() and not seen[reach:].any() and not seen[:, reach:].any()


@pytest.mark.parametrize('size', [(8, 8), (7, 10), (2, 3)])
@pytest.mark.parametrize('block_index', [0, 1])
def test_windowed_mixer_mixes_each_window_by_itself(block_index, size):
    torch.manual_seed(0)
    config = dict(type='HyenaND', direction='centered')
    mixer = WindowedMixer(6, config, window_size=4, block_index=block_index).double()
    x = torch.randn(2, *size, 6, dtype=torch.float64)
    got, shift = mixer(x), 2 * block_index
    assert mixer.shift == shift
    padded = torch.zeros(2, 16, 16, 6, dtype=torch.float64)
    padded[:, shift : shift + size[0], shift : shift + size[1]] = x
    want = torch.empty_like(padded)
    for row in range(0, 16, 4):
        for column in range(0, 16, 4):
            window = (slice(None), slice(row, row + 4), slice(column, column + 4))
            want[window] = mixer.mixer(padded[window])
    torch.testing.assert_close(got, want[:, shift : shift + size[0], shift : shift + size[1]])
    torch.testing.assert_close(mixer(x, mixer.prepare(size)), got)


def test_outputs_and_norms_only_where_asked():
    model = swin(out_indices=(1, -1))
    assert [key for key in dict(model.named_children()) if key.startswith('norm')] == ['norm1', 'norm3']
    assert [out.shape[1] for out in model(torch.zeros(1, 3, 32, 32))] == [32, 64]
    pooled = swin(out_indices=(3,), gap_before_final_norm=True)
    assert [out.shape for out in pooled(torch.zeros(2, 3, 64, 32))] == [(2, 64)]


def test_frozen_stages():
    model = swin(frozen_stages=2, drop_path_rate=0.5).train()
    for i, stage in enumerate(model.stages):
        frozen = i < 2
        for module in (stage, model.downsample_layers[i], getattr(model, f'norm{i}')):
            assert all(parameter.requires_grad != frozen for parameter in module.parameters())
        assert stage.training != frozen


def test_checkpointing_changes_nothing():
    grads = []
    for with_cp in (False, True):
        model = swin(with_cp=with_cp)
        sum(out.square().sum() for out in model(torch.ones(1, 3, 40, 32))).backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_filter_resize_reaches_the_mixers():
    for wanted in (True, False):
        assert {mixer.long_conv.filter_resize for mixer in mixers(swin(filter_resize=wanted))} == {wanted}


def test_layer_depth():
    model = swin()
    depth = dict(zip(('stem', 'first', 'late', 'last', 'norm'), (0, 1, 4, 5, 6), strict=True))
    names = {
        'stem': 'backbone.downsample_layers.0.proj.weight',
        'first': 'backbone.stages.0.0.mlp.0.weight',
        'late': 'backbone.stages.2.3.norm1.weight',
        'last': 'backbone.stages.3.0.norm1.weight',
        'norm': 'backbone.norm3.weight',
    }
    assert {key: model.get_layer_depth(name, 'backbone.') for key, name in names.items()} == {
        key: (value, 7) for key, value in depth.items()
    }
    assert model.get_layer_depth('head.fc.weight', 'backbone.') == (6, 7)


def test_optimizer_takes_every_parameter_once():
    model = swin(token_mixer=dict(type='HyenaND', filter='product', window='learned'))
    config = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), paramwise_cfg=dict(norm_decay_mult=0.0))
    wrapper = build_optim_wrapper(model, config)
    count = sum(len(group['params']) for group in wrapper.optimizer.param_groups)
    assert count == len(list(model.parameters()))


def test_one_config_a_stage_and_from_the_registry():
    mixer = [dict(type='HyenaND', filter=name) for name in ('direct', 'product', 'joint')]
    mixer.append(dict(type='Attention', head_dim=16))
    model = MODELS.build(dict(type='mmhyena.HyenaSwin', arch=SMALL, img_size=(64, 96), token_mixer=mixer))
    assert model.stages[0][0].token_mixer.long_conv.kernel_size == (16, 24)
    assert model.stages[2][0].token_mixer.long_conv.kernel_size == (4, 6)
    assert type(model.stages[3][0].token_mixer).__name__ == 'Attention'


def test_direction_of_every_kind_trains_in_former():
    for direction in ('four_way', 'parallel', 'centered', dict(type='FourWayDirection', mix='channel')):
        mixer = dict(type='HyenaND', map_size=8, direction=direction, order=3)
        model = HyenaFormer(dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8), token_mixers=[mixer] * 4))
        sum(out.square().sum() for out in model(torch.randn(1, 3, 32, 48))).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    'kwargs,error',
    [
        (dict(arch='swin_huge'), "arch 'swin_huge' is unknown; choose one of swin_tiny"),
        (dict(arch=dict(channels=(8, 8, 8, 8))), 'arch lacks depths'),
        (dict(arch=dict(SMALL, depths=(1, 1))), 'depths of arch must be a list of 4'),
        (dict(arch=SMALL, out_indices=(4,)), 'out_indices must be distinct stages'),
        (dict(arch=SMALL, frozen_stages=5), 'frozen_stages must be an integer, -1 to 4'),
        (dict(arch=SMALL, img_size=(64, 0)), 'img_size must be one integer or 2 integers, at least 1'),
        (dict(arch=SMALL, window_size=0), 'window_size must be positive'),
        (dict(arch=SMALL, token_mixer=[dict(type='HyenaND')] * 3), 'one for each of the 4 stages, got 3'),
        (dict(arch=SMALL, token_mixer=dict(type='Nothing')), "'Nothing' is not registered"),
    ],
)
def test_bad_arguments_are_named(kwargs, error):
    with pytest.raises(ValueError, match=error):
        HyenaSwin(**kwargs)


def test_small_inputs_are_refused():
    with pytest.raises(ValueError, match='HyenaSwin needs inputs of at least 32 x 32 pixels, got 31 x 64'):
        swin()(torch.zeros(1, 3, 31, 64))
