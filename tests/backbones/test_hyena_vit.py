"""HyenaViT and IBiT: published sizes, schedules, sizes of images, outputs, and the constructor's words."""

import itertools

import pytest
import torch
from torch import nn

from mmhyena.backbones.hyena_vit import HyenaViT, mixer_schedule
from mmhyena.checkpoints import CheckpointError
from mmhyena.layers import Attention, HyenaND, LearnedMaskAttention
from mmhyena.layers.nd_directions import AlternatingDirection
from mmhyena.layers.vit import resample_grid

ARCH = dict(embed_dims=16, num_layers=4, num_heads=2)
IMAGENET_CLASSES = 1000


def small(**kwargs):
    torch.manual_seed(0)
    defaults = dict(arch=ARCH, img_size=32, patch_size=8, hyena=dict(type='HyenaND', filter_width=8))
    return HyenaViT(**{**defaults, **kwargs})


def count(model):
    head = (model.embed_dims + 1) * IMAGENET_CLASSES
    return head + sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    'kwargs,millions',
    [
        (dict(arch='deit_tiny'), '6.042'),
        (dict(arch='deit_small'), '22.594'),
        (dict(arch='deit_base'), '87.548'),
        (dict(arch='deit_tiny', token_mixers='attention', with_cls_token=True), '5.717'),
        (dict(arch='deit_tiny', token_mixers='hyena_first'), '5.907'),
        (dict(arch='deit_tiny', hyena=dict(type='HyenaND', filter='product')), '6.290'),
    ],
)
def test_parameters_of_the_published_models(kwargs, millions, add_row):
    parameters = count(HyenaViT(**kwargs))
    add_row('Parameters with a classifier of 1000', model=str(kwargs), parameters=f'{parameters:,}')
    assert f'{parameters / 1e6:.3f}' == millions


def test_parameters_of_ibit(add_row):
    model = HyenaViT(arch='ibit_tiny')
    add_row('Parameters with a classifier of 1000', model='ibit_tiny', parameters=f'{count(model):,}')
    assert count(model) == 5_806_864
    assert sum(p.numel() for name, p in model.named_parameters() if '.mask_' in name) == 127_656


@pytest.mark.parametrize(
    'schedule,kinds',
    [
        ('hyena', 'HHHHHHHHHHHH'),
        ('attention', 'AAAAAAAAAAAA'),
        ('hyena_first', 'HHHHHHHAAAAA'),
        ('attention_first', 'AAAAAAAHHHHH'),
        ('alternating', 'HAHAHAHAHAHA'),
        (['hyena', 'attention', 'attention'] * 4, 'HAAHAAHAAHAA'),
    ],
)
def test_schedules(schedule, kinds):
    arch = dict(ARCH, num_layers=12)
    model = small(arch=arch, token_mixers=schedule)
    letters = {HyenaND: 'H', Attention: 'A'}
    assert ''.join(letters[type(layer.token_mixer)] for layer in model.layers) == kinds


def test_schedule_takes_configs():
    pixel = dict(type='HyenaPixel', kernel_size=7, position_dim=8)
    model = small(token_mixers=[pixel, 'attention', dict(type='SepConv'), 'hyena'])
    names = [type(layer.token_mixer).__name__ for layer in model.layers]
    assert names == ['HyenaPixel', 'Attention', 'SepConv', 'HyenaND']
    assert model(torch.randn(1, 3, 32, 40))[0].shape == (1, 16)


@pytest.mark.parametrize('token_mixers', ['hyena', 'alternating', 'attention_first'])
def test_directions_alternate_over_the_hyena_blocks(token_mixers):
    """Seen from the last block of a causal stack, only flips in depth let the first pixel hear of the last one."""
    hyena = dict(type='HyenaND', direction='alternating', filter_width=8)
    model = small(arch=dict(ARCH, num_layers=8), token_mixers=token_mixers, hyena=hyena)
    directions = [
        layer.token_mixer.long_conv.direction for layer in model.layers if isinstance(layer.token_mixer, HyenaND)
    ]
    assert len(directions) > 1 and all(isinstance(direction, AlternatingDirection) for direction in directions)
    kernel, skip = torch.randn(16, 3, 3), torch.zeros(16)
    made = [direction.kernel(kernel, skip, 0)[0] for direction in directions]
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(made))
    assert all(torch.equal(one, other) for one, other in zip(made, made[2:]))


@pytest.mark.parametrize('size', [(32, 32), (24, 64), (37, 50), (8, 8)])
@pytest.mark.parametrize('token_mixers', ['hyena', 'hyena_first'])
def test_maps_of_any_image_size(size, token_mixers):
    model = small(token_mixers=token_mixers, out_indices=(1, -1), out_type='featmap').eval()
    outs = model(torch.randn(2, 3, *size))
    want = (2, 16, -(-size[0] // 8), -(-size[1] // 8))
    assert [tuple(out.shape) for out in outs] == [want, want]
    assert all(out.is_contiguous() and torch.isfinite(out).all() for out in outs)


def test_image_size_need_not_be_square():
    model = small(img_size=(32, 64), token_mixers='alternating')
    assert model.pos_embed.shape == (1, 4, 8, 16)
    assert model.layers[0].token_mixer.long_conv.kernel_size == (4, 8)
    assert model(torch.randn(1, 3, 32, 64))[0].shape == (1, 16)


def test_cached_kernels_give_what_training_gives():
    model = small()
    x = torch.randn(2, 3, 40, 32)
    trained = model(x)[0]
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x)[0], trained, rtol=1e-4, atol=1e-5)


def test_out_types():
    x = torch.randn(2, 3, 32, 32)
    model = small(token_mixers='attention', with_cls_token=True, out_type='raw').eval()
    (raw,) = model(x)
    assert raw.shape == (2, 17, 16)
    wants = dict(cls_token=raw[:, 0], avg_featmap=raw[:, 1:].mean(1), featmap=raw[:, 1:].mT.reshape(2, 16, 4, 4))
    for out_type, want in wants.items():
        model.out_type = out_type
        torch.testing.assert_close(model(x)[0], want)
    assert small(token_mixers='attention', with_cls_token=True).out_type == 'cls_token'
    assert small().out_type == 'avg_featmap'


def test_ibit_residual_is_the_normalized_input():
    model = small(arch='ibit_tiny', img_size=48, patch_size=16)
    block = model.layers[0]
    for parameter in (*block.token_mixer.proj.parameters(), *block.mlp[2].parameters()):
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 10, 192)
    torch.testing.assert_close(block(x, (3, 3)), block.norm2(block.norm1(x)))


def test_ibit_serves_other_grids():
    model = small(arch='ibit_tiny', img_size=32).eval()
    assert isinstance(model.layers[0].token_mixer, LearnedMaskAttention)
    for size in ((32, 32), (24, 48), (64, 40)):
        assert torch.isfinite(model(torch.randn(1, 3, *size))[0]).all()


def test_positions_of_a_checkpoint_are_resampled(tmp_path):
    small_model, large_model = small(img_size=32), small(img_size=(64, 48))
    state = small_model.state_dict()
    position = state['pos_embed'].clone()
    large_model.load_state_dict({'pos_embed': position}, strict=False)
    assert large_model.pos_embed.shape == (1, 8, 6, 16)
    torch.testing.assert_close(large_model.pos_embed.mean((1, 2)), position.mean((1, 2)), rtol=0.3, atol=3e-3)
    constant = {'pos_embed': torch.full_like(position, 0.5)}
    large_model.load_state_dict(constant, strict=False)
    torch.testing.assert_close(large_model.pos_embed.detach(), torch.full((1, 8, 6, 16), 0.5))


def test_pretrained_at_another_image_size(tmp_path):
    source = small(hyena=dict(type='HyenaND', filter_width=8))
    nn.init.normal_(source.pos_embed)
    torch.save({f'backbone.{name}': value for name, value in source.state_dict().items()}, tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    larger = small(img_size=64, out_type='featmap', init_cfg=init_cfg)
    larger.init_weights()
    torch.testing.assert_close(larger.pos_embed, resample_grid(source.pos_embed, (8, 8)))
    # On maps of its own size the resized model is the small one with its filters stretched at run time.
    stretched = small(hyena=dict(type='HyenaND', filter_width=8, filter_resize=True), out_type='featmap')
    stretched.load_state_dict(source.state_dict())
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(larger.eval()(image)[0], stretched.eval()(image)[0], rtol=1e-4, atol=1e-4)


def test_pretrained_of_another_model_is_refused(tmp_path):
    torch.save(small(with_cls_token=True, token_mixers='attention').state_dict(), tmp_path / 'weights.pth')
    model = small(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth')))
    with pytest.raises(CheckpointError, match='HyenaViT'):
        model.init_weights()


@pytest.mark.parametrize('position', ['learned', 'sincos', 'none'])
def test_positions(position):
    model = small(position=position, token_mixers='attention').eval()
    x = torch.randn(1, 3, 32, 32)
    flipped = model(x.unflatten(3, (4, 8)).flip(3).flatten(3))[0]  # the patches of each row in reverse order
    same = torch.allclose(model(x)[0], flipped, atol=1e-6)
    assert same == (position == 'none')


def test_checkpointing_changes_nothing():
    x = torch.randn(2, 3, 32, 32)
    gradients = []
    for with_cp in (False, True):
        model = small(token_mixers='hyena_first', with_cp=with_cp)
        model(x)[0].square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert all(gradient is not None for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_frozen_stages():
    model = small(frozen_stages=2, drop_rate=0.5).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {
        name
        for name, _ in model.named_parameters()
        if name == 'pos_embed' or name.startswith(('patch_embed.', 'layers.0.', 'layers.1.'))
    }
    assert not model.layers[1].training and model.layers[2].training and not model.drop_after_pos.training


def test_layer_depths():
    model = small()
    depths = {name: model.get_layer_depth(f'backbone.{name}', 'backbone.') for name, _ in model.named_parameters()}
    assert depths['pos_embed'] == (0, 6) and depths['patch_embed.proj.weight'] == (0, 6)
    assert depths['layers.0.norm1.weight'] == (1, 6) and depths['layers.3.mlp.0.weight'] == (4, 6)
    assert depths['norm.weight'] == (5, 6)
    assert model.get_layer_depth('head.fc.weight', 'backbone.') == (5, 6)


@pytest.mark.parametrize(
    'kwargs,message',
    [
        (dict(arch='deit_huge'), 'arch .* is unknown; choose one of deit_tiny'),
        (dict(arch=dict(embed_dims=8)), 'arch lacks num_heads, num_layers'),
        (dict(arch=dict(ARCH, num_head=2)), 'arch does not take num_head'),
        (dict(arch=dict(ARCH, num_heads=3)), 'embed_dims of arch must be a multiple of num_heads'),
        (dict(arch=dict(ARCH, num_layers=0)), 'num_layers of arch must be an integer, at least 1'),
        (dict(img_size=0), 'img_size must be'),
        (dict(img_size=(32, 32, 32)), 'img_size must be one integer or 2 integers, got 3'),
        (dict(patch_size=0), 'patch_size must be an integer, at least 1'),
        (dict(in_channels=0), 'in_channels must be an integer, at least 1'),
        (dict(drop_rate=1.0), 'drop_rate must be a number from 0 to below 1'),
        (dict(drop_path_rate='0.1'), 'drop_path_rate must be a number'),
        (dict(mlp_ratio=0), 'mlp_ratio'),
        (dict(out_indices=4), 'out_indices must be'),
        (dict(out_type='mean'), "out_type 'mean' is unknown; choose one of"),
        (dict(out_type='cls_token'), 'needs with_cls_token'),
        (dict(token_mixers='first'), 'token_mixers .* is unknown'),
        (dict(token_mixers=['hyena']), 'one entry for each of the 4 blocks'),
        (dict(token_mixers=['hyena'] * 3 + ['conv']), "is 'hyena', 'attention' or a config"),
        (dict(with_cls_token=True), 'HyenaND of block 0 cannot mix a class token'),
        (dict(position='fixed'), "position 'fixed' is unknown; choose one of"),
        (dict(frozen_stages=5), 'frozen_stages must be an integer, -1 to 4'),
        (dict(hyena=dict(type='NoMixer')), "'NoMixer' is not registered"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small(**kwargs)


def test_a_schedule_of_one_block():
    assert mixer_schedule('hyena_first', 1) == ['hyena']
    assert mixer_schedule('alternating', 3) == ['hyena', 'attention', 'hyena']


def test_stochastic_depth_as_in_ibit():
    small = dict(embed_dims=32, num_layers=3, num_heads=2)
    model = HyenaViT(small, img_size=32, drop_path_rate=0.2, drop_path_schedule='constant', drop_path_mlp=False)
    assert [layer.drop_path.p for layer in model.layers] == [0.2] * 3
    rising = HyenaViT(small, img_size=32, drop_path_rate=0.2)
    assert [getattr(layer.drop_path, 'p', 0.0) for layer in rising.layers] == pytest.approx([0.0, 0.1, 0.2])
    with pytest.raises(ValueError, match='drop_path_schedule'):
        HyenaViT(small, drop_path_schedule='cosine')

    dropped = HyenaViT(dict(small, num_layers=1), img_size=32, drop_path_rate=0.999999, drop_path_schedule='constant')
    image = torch.randn(1, 3, 32, 32)
    block = dropped.layers[0]
    tokens = dropped.patch_embed(image)
    assert torch.equal(block(tokens), tokens)  # both branches are dropped
    block.drop_path_mlp = False
    torch.testing.assert_close(block(tokens), tokens + block.mlp(block.norm2(tokens)))


def test_one_dimensional_positions_are_no_weights_and_serve_every_grid():
    model = HyenaViT('ibit_tiny', img_size=64, out_type='raw').eval()
    assert model.position == 'sincos_1d' and 'position_encoding' not in model.state_dict()
    position = torch.arange(17.0)[:, None] * torch.exp(-torch.linspace(0, 3, 96))  # 17 tokens: ceil(ln 17) is 3
    torch.testing.assert_close(model.position_encoding, torch.cat([position.sin(), position.cos()], dim=1))
    assert model(torch.randn(1, 3, 96, 48))[0].shape == (1, 1 + 6 * 3, 192)


def test_first_token_is_the_top_left_patch_without_a_class_token():
    small, image = dict(embed_dims=32, num_layers=2, num_heads=2), torch.randn(1, 3, 32, 48)
    model = HyenaViT(small, img_size=32, out_type='first_token').eval()
    (first,) = model(image)
    model.out_type = 'raw'
    torch.testing.assert_close(first, model(image)[0][:, 0])
