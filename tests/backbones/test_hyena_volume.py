"""HyenaVolume on sequences, images and volumes."""

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from mmhyena.backbones import HyenaVolume
from mmhyena.registry import DATASETS, MODELS

pytest.importorskip('mmpretrain')


def volumes(num_samples=10, **kwargs):
    return DATASETS.build(dict(type='mmhyena.SolidVolumes', num_samples=num_samples, **kwargs))


@pytest.mark.parametrize('size', [(9,), (12, 5), (4, 7, 6)])
@pytest.mark.parametrize('filter', ['joint', 'product', 'direct'])
def test_any_size_of_any_dimension(size, filter):
    ndim = len(size)
    mixer = dict(type='HyenaND', filter=filter, direction='four_way')
    model = HyenaVolume(8, 3, ndim=ndim, img_size=8, token_mixer=mixer, out_type='featmap', out_indices=(0, -1))
    outs = model(torch.randn(2, 1, *size))
    assert [out.shape for out in outs] == [(2, 8, *(-(-n // 2) for n in size))] * 2
    sum(out.square().sum() for out in outs).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_pooled_output_is_the_mean_of_the_map():
    torch.manual_seed(0)
    model = HyenaVolume(8, 2, img_size=8).eval()
    x = torch.randn(2, 1, 8, 8, 8)
    (pooled,) = model(x)
    model.out_type = 'featmap'
    torch.testing.assert_close(pooled, model(x)[0].mean((2, 3, 4)))


def test_neighboring_blocks_look_in_opposite_directions():
    model = HyenaVolume(8, 4)
    assert [layer.token_mixer.long_conv.direction.causal for layer in model.layers] == [False, True, False, True]


def test_frozen_stages_and_layer_depth():
    model = HyenaVolume(8, 3, frozen_stages=1).train()
    trained = {name.split('.')[0] + name.split('.')[1] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {'layers1', 'layers2', 'norm2weight', 'norm2bias'}
    assert not model.layers[0].training and model.layers[1].training
    names = ['patch_embed.weight', 'layers.0.norm1.weight', 'layers.2.mlp.0.weight', 'norm2.bias']
    assert [model.get_layer_depth(f'backbone.{name}', 'backbone.') for name in names] == [
        (depth, 5) for depth in (0, 1, 3, 4)
    ]
    assert model.get_layer_depth('head.fc.weight', 'backbone.') == (4, 5)


@pytest.mark.parametrize(
    'kwargs,error',
    [
        (dict(ndim=4), 'ndim must be an integer, 1 to 3'),
        (dict(out_type='cls_token'), "out_type 'cls_token' is unknown; choose one of avg_featmap, featmap"),
        (dict(frozen_stages=9), 'frozen_stages must be an integer, -1 to 4'),
        (dict(embed_dims=0), 'embed_dims must be an integer, at least 1'),
        (dict(num_layers=0), 'num_layers must be an integer, at least 1'),
        (dict(img_size=(8, 8)), 'img_size must be one integer or 3 integers'),
        (dict(patch_size=0), 'patch_size must be'),
        (dict(token_mixer=dict(type='HyenaMD')), "'HyenaMD' is not registered"),
        (dict(out_indices=(4,)), 'out_indices must be distinct blocks'),
    ],
)
def test_bad_arguments_are_named(kwargs, error):
    with pytest.raises(ValueError, match=error):
        HyenaVolume(**kwargs)


def test_wrong_number_of_axes_is_named():
    with pytest.raises(ValueError, match='HyenaVolume of 3 axes takes'):
        HyenaVolume(8, 1)(torch.zeros(1, 1, 8, 8))


def test_three_axes_learn():
    """Balls against crosses: a few steps bring the loss to a fraction of what guessing has."""
    torch.manual_seed(0)
    shown = volumes(100, size=8, noise=0.1)
    samples = [shown[i] for i in range(100) if i % 5 in (0, 4)]
    x = default_collate([sample['inputs'] for sample in samples])
    y = torch.tensor([int(sample['data_samples'].gt_label == 4) for sample in samples])
    model = nn.Sequential(MODELS.build(dict(type='mmhyena.HyenaVolume', embed_dims=16, num_layers=2, img_size=8)))
    head = nn.Linear(16, 2)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(head(model(x)[0]), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
