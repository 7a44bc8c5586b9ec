"""Backbones of timm keep our contract: features, arguments, layers, weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

timm = pytest.importorskip('timm', minversion='1.0')

from mmhyena.backbones import HyenaFormer, TimmBackbone  # noqa: E402
from mmhyena.checkpoints import CheckpointError  # noqa: E402

PYRAMIDS = {
    'convnextv2_atto': (40, 80, 160, 320),
    'swin_tiny_patch4_window7_224': (96, 192, 384, 768),
    'convformer_s18': (64, 128, 320, 512),
    'caformer_s18': (64, 128, 320, 512),
    'pvt_v2_b0': (32, 64, 160, 256),
    'resnet10t': (64, 128, 256, 512),
}


@pytest.fixture(scope='module')
def built() -> dict[str, TimmBackbone]:
    torch.manual_seed(0)
    return {name: TimmBackbone(name) for name in PYRAMIDS}


@pytest.mark.parametrize('name', PYRAMIDS)
def test_features_at_four_strides_and_every_parameter_is_used(name, built):
    backbone = built[name]
    outs = backbone(torch.randn(2, 3, 64, 96))
    assert backbone.embed_dims == PYRAMIDS[name]
    assert [tuple(y.shape) for y in outs] == [
        (2, channels, 64 // stride, 96 // stride) for channels, stride in zip(PYRAMIDS[name], (4, 8, 16, 32))
    ]
    sum(y.square().mean() for y in outs).backward()
    unused = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    assert not unused, unused


@pytest.mark.parametrize('size', [(65, 85), (33, 127)])
@pytest.mark.parametrize('name', PYRAMIDS)
@torch.no_grad()
def test_images_of_any_size(name, size, built):
    for y, stride in zip(built[name].eval()(torch.randn(1, 3, *size)), (4, 8, 16, 32)):
        assert all(abs(n - side / stride) <= 1 for n, side in zip(y.shape[2:], size)), (stride, y.shape)


@pytest.mark.parametrize('name', PYRAMIDS)
@torch.no_grad()
def test_features_are_timms_own_before_the_norms(name):
    torch.manual_seed(0)
    backbone = TimmBackbone(name, norm_cfg=dict(type='GN', num_groups=1, affine=False, eps=0.0)).eval()
    theirs = timm.create_model(name, features_only=True, **({'strict_img_size': False} if 'swin' in name else {}))
    state = {key.replace('.', '_', 1) if 'convnext' in name else key: value
             for key, value in backbone.model.state_dict().items()}  # fmt: skip
    own = theirs.state_dict()
    fitting = {}
    for key in own:  # timm flattens the first levels of some names
        match = [k for k in state if k == key or k.replace('.', '_', 1) == key]
        if match:
            fitting[key] = state[match[0]]
    theirs.load_state_dict(fitting, strict=False)
    theirs.eval()
    if len(fitting) < len(own):
        pytest.skip(f'timm names the features of {name} differently')
    x = torch.randn(1, 3, 64, 96)
    wanted = theirs(x)[-4:]
    for ours, want in zip(backbone(x), wanted):
        want = want if want.shape == ours.shape else want.permute(0, 3, 1, 2)
        want = (want - want.mean((1, 2, 3), keepdim=True)) / want.std((1, 2, 3), correction=0, keepdim=True)
        torch.testing.assert_close(ours, want, rtol=1e-3, atol=1e-3)


def test_arguments_of_our_backbones():
    backbone = TimmBackbone('convnextv2_atto', out_indices=[1, -1], frozen_stages=1, in_channels=1, with_cp=True)
    assert [tuple(y.shape) for y in backbone(torch.randn(1, 1, 64, 64))] == [(1, 80, 8, 8), (1, 320, 2, 2)]
    frozen = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name for name, _ in backbone.named_parameters() if name.startswith(('model.stem', 'model.stages.0'))
    }
    assert not backbone.model.stages[0].training and backbone.model.stages[1].training
    pooled = TimmBackbone('convnextv2_atto', out_indices=3, gap_before_final_norm=True)
    assert [tuple(y.shape) for y in pooled(torch.randn(2, 3, 64, 64))] == [(2, 320)]
    dropped = TimmBackbone('convnextv2_atto', drop_path_rate=0.3)
    rates = [module.drop_prob for module in dropped.modules() if type(module).__name__ == 'DropPath']
    assert max(rates) == pytest.approx(0.3)


def test_a_vit_gives_its_last_four_blocks():
    backbone = TimmBackbone('vit_tiny_patch16_224')
    assert backbone.out_indices == (8, 9, 10, 11)
    assert [tuple(y.shape) for y in backbone(torch.randn(1, 3, 64, 96))] == [(1, 192, 4, 6)] * 4
    assert backbone.get_layer_depth('backbone.model.blocks.11.attn.qkv.weight', 'backbone.') == (12, 14)
    assert backbone.get_layer_depth('backbone.model.pos_embed', 'backbone.') == (0, 14)
    assert backbone.get_layer_depth('head.weight', 'backbone.') == (13, 14)


def test_layers_are_those_of_our_pyramid():
    ours, theirs = HyenaFormer(arch='hpx_former_s18'), TimmBackbone('convformer_s18')

    def layers(backbone, **renamed: str) -> dict[str, int]:
        found = {}
        for name, _ in backbone.named_parameters():
            layer, total = backbone.get_layer_depth(f'backbone.{name}', 'backbone.')
            assert total == 8
            for old, new in renamed.items():
                name = name.replace(old.replace('__', '.'), new)
            found[name] = layer
        return found

    places = layers(theirs)
    assert places['model.stem.conv.weight'] == 0
    for stage, depth in enumerate((3, 3, 9, 3)):
        if stage:
            wanted = layers(ours)[f'downsample_layers.{stage}.conv.weight']
            assert places[f'model.stages.{stage}.downsample.conv.weight'] == wanted
        for block in range(depth):
            wanted = layers(ours)[f'stages.{stage}.{block}.norm1.weight']
            assert places[f'model.stages.{stage}.blocks.{block}.norm1.weight'] == wanted
    assert places['norm0.weight'] == layers(ours)['norm0.weight'] == 7


def test_checkpoints_of_timm_load_with_a_report(tmp_path, caplog):
    torch.manual_seed(0)
    whole = timm.create_model('convformer_s18', num_classes=7)
    file = tmp_path / 'timm.pth'
    torch.save(whole.state_dict(), file)
    backbone = TimmBackbone('convformer_s18', init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    backbone.init_weights()
    loaded: dict[str, Tensor] = backbone.model.state_dict()
    assert all(torch.equal(loaded[name], whole.state_dict()[name]) for name in loaded)
    other = TimmBackbone('caformer_s18', init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    with pytest.raises(CheckpointError, match='does not fit caformer_s18'):
        other.init_weights()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="timm has no model 'convnext_tinny'; did you mean"):
        TimmBackbone('convnext_tinny')
    with pytest.raises(ValueError, match='out_indices'):
        TimmBackbone('convnextv2_atto', out_indices=9)
    with pytest.raises(ValueError, match='drop_path_rate'):
        TimmBackbone('convnextv2_atto', drop_path_rate=2)
