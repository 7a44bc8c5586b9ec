"""What every backbone has from its base: initialization as MMEngine expects, norms, frozen parts, half precision."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import nn

from mmhyena.backbones import HyenaFormer, HyenaSwin, HyenaViT, HyenaVolume
from mmhyena.layers import HyenaND

PIXEL = dict(type='HyenaPixel', kernel_size=7, position_dim=8)
ND = dict(type='HyenaND', map_size=4, filter_width=8)
MIXERS = [PIXEL, ND, dict(type='Attention', head_dim=4), dict(type='SepConv')]
ARCH = dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8), token_mixers=MIXERS)
VIT = dict(arch=dict(embed_dims=8, num_layers=4, num_heads=2), img_size=32, patch_size=8)


def former(**kwargs):
    return HyenaFormer(ARCH, **kwargs)


def swin(**kwargs):
    return HyenaSwin(dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8)), img_size=32, **kwargs)


def vit(**kwargs):
    return HyenaViT(**(VIT | dict(token_mixers='alternating', out_type='featmap', out_indices=(1, -1)) | kwargs))


def volume(**kwargs):
    return HyenaVolume(**(dict(embed_dims=8, num_layers=4, ndim=2, img_size=32, patch_size=8, in_channels=3) | kwargs))


BACKBONES = [former, swin, vit, volume]


def image(batch=2):
    return torch.randn(batch, 3, 32, 40)


def filters(model):
    return {name: value for name, value in model.state_dict().items() if '.filter.' in name or '.window.' in name}


class Model(BaseModule):
    """A model around a backbone, with the ``init_cfg`` that classifiers often have."""

    def __init__(self, backbone):
        init = [dict(type='Constant', layer=['Linear', 'Conv1d', 'Conv2d'], val=0.0, bias=0.0)]
        super().__init__(init_cfg=init)
        self.backbone = backbone
        self.head = nn.Linear(8, 2)


@pytest.mark.parametrize('make', BACKBONES)
def test_init_cfg_of_the_model_leaves_filters_and_backbone_intact(make):
    model = Model(make())
    before = {name: value.clone() for name, value in filters(model.backbone).items()}
    model.init_weights()
    assert before and all(torch.equal(before[name], value) for name, value in filters(model.backbone).items())
    assert not model.head.weight.any()
    if make is not volume:  # it has no default, so the model's applies
        assert all(module.weight.std() > 0.01 for module in model.backbone.modules() if isinstance(module, nn.Linear))
    for module in model.backbone.modules():
        if isinstance(module, HyenaND):
            assert module.short_conv.weight.abs().max() > 0.2, 'small taps would silence three gates'


@pytest.mark.parametrize('make', BACKBONES)
def test_init_weights_starts_anew_and_the_log_says_how(make, tmp_path):
    logger = MMLogger.get_instance('init', log_file=str(tmp_path / 'run.log'), log_level=logging.INFO)
    try:
        model = make()
        before = {name: value.clone() for name, value in model.named_parameters()}
        model.init_weights()
        changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    finally:
        for handler in logger.handlers:
            handler.flush()
        MMLogger._instance_dict.pop('init')
    text = (tmp_path / 'run.log').read_text()
    assert all(f'{name} - ' in text for name in before)
    if make is not volume:
        assert {name for name in changed if name.endswith(('in_proj.weight', 'qkv.weight'))}
        assert 'TruncNormalInit' in text
    if make is not volume and any(isinstance(module, HyenaND) for module in model.modules()):
        assert 'Initialized by Hyena' in text


def test_init_cfg_replaces_the_default():
    model = former(init_cfg=dict(type='Constant', layer='Linear', val=0.5, bias=0.25))
    model.init_weights()
    assert (model.stages[0][0].token_mixer.in_proj.weight == 0.5).all()
    assert (model.stages[0][0].token_mixer.in_proj.bias == 0.25).all()


@pytest.mark.parametrize('make', BACKBONES)
@pytest.mark.parametrize('kind', ['LN', 'BN', 'SyncBN', 'GN'])
def test_norm_cfg(make, kind):
    groups = dict(num_groups=2) if kind == 'GN' else {}
    model = make(norm_cfg=dict(type=kind, eps=0.125, **groups), norm_eval=True).train()
    norms = [module for name, module in model.named_modules() if name.startswith('norm')]
    assert norms and all(norm.eps == 0.125 for norm in norms)
    assert all(norm.training == (kind in ('LN', 'GN')) for norm in norms)
    outs = model(image())
    assert all(torch.isfinite(out).all() for out in outs)
    if kind == 'GN':  # over positions as well as channels, in two groups
        sample = outs[-1][0] if outs[-1].dim() == 4 else None
        if sample is not None:
            assert sample[:4].mean().abs() < 1e-5 and sample[4:].mean().abs() < 1e-5


def test_norm_cfg_of_pooled_outputs_and_frozen_norms():
    for kind in ('LN', 'BN'):
        model = former(norm_cfg=dict(type=kind, requires_grad=False), gap_before_final_norm=True, out_indices=3)
        assert model(image())[0].shape == (2, 8)
        assert not any(parameter.requires_grad for parameter in model.norm3.parameters())


@pytest.mark.parametrize('make', BACKBONES)
def test_what_follows_the_last_output_does_not_train(make):
    """Distributed training waits for a gradient of everything that asks for one."""
    model = make(out_indices=1)
    sum(out.square().sum() for out in model(image())).backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())
    assert any(not parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize('make', BACKBONES)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('size', [(32, 32), (40, 48)])
def test_half_precision_at_the_built_and_another_size(make, dtype, size):
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(1, 3, *size)
    with torch.no_grad():
        want = model(x)[-1]
        got = model.to(dtype)(x.to(dtype))[-1]
    assert got.dtype == dtype
    error = (got.float() - want).norm() / want.norm()
    assert error < (0.06 if dtype == torch.bfloat16 else 0.02), float(error)


@pytest.mark.parametrize('position', ['learned', 'sincos'])
def test_positions_in_half_precision(position):
    model = vit(position=position, token_mixers='attention').bfloat16()
    (first, last) = model(torch.randn(1, 3, 48, 32).bfloat16())
    assert first.dtype == last.dtype == torch.bfloat16
    last.float().square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.requires_grad)
