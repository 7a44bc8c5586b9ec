"""The official Hyena N-D outputs from the official weights, recorded ones and those of a formula that they confirm."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmhyena.checkpoints import convert_official_nd, official_nd_config
from mmhyena.ops import naive_long_conv
from mmhyena.registry import MODELS

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden'
CASES = json.loads((GOLDEN / 'hyena_nd.json').read_text())
OUTPUTS = np.load(GOLDEN / 'hyena_nd.npz')
LIMIT = 1e-5

spec = importlib.util.spec_from_file_location('official_weights_nd', GOLDEN / 'official_weights_nd.py')
official = importlib.util.module_from_spec(spec)
spec.loader.exec_module(official)


def make_weights(keys):
    return {key: torch.from_numpy(official.official_nd_tensor(key, shape)) for key, shape in keys.items()}


def make_tokens(size, channels, seed=0):
    return torch.from_numpy(official.official_tokens(seed, (2, size, size, channels)))


@torch.no_grad()
def run_ours(kwargs, weights, x):
    mixer = MODELS.build(official_nd_config(**kwargs))
    mixer.load_state_dict(convert_official_nd(weights))
    trained = mixer(x)
    torch.testing.assert_close(mixer.eval()(x), trained, rtol=1e-4, atol=1e-4)
    return trained


def relative_error(got, want):
    return ((got - want).norm() / want.norm()).item()


def network(weights, prefix, frequency, x):
    """A filter network: linear layers at even places, one frequency for all sines."""
    last = max(int(key.split('.')[-2]) for key in weights if key.startswith(prefix))
    for i in range(0, last, 2):
        x = torch.sin(frequency * (x @ weights[f'{prefix}{i}.weight'].T + weights[f'{prefix}{i}.bias']))
    return x @ weights[f'{prefix}{last}.weight'].T


def formula_kernel(weights, mode, sqrt):
    """The official kernel ``(rows, columns, channels)``, straight from the tensors' names."""
    z = weights['filter_fn.pos_emb.z'][0]
    size = len(z)
    t = torch.linspace(0, 1, size)[:, None]
    # Frequencies have a copy a sine; the last one in the official order of modules is the one that was loaded.
    frequency = [value for key, value in weights.items() if key.endswith('.freq')][-1]
    rate = {key.split('.')[-1]: value[0].abs() for key, value in weights.items() if key.endswith('deltas')}
    if 'filter_fn.Ximplicit_filter.0.weight' in weights:
        factors = []
        for axis in 'XY':
            factor = network(weights, f'filter_fn.{axis}implicit_filter.', frequency, z)
            if mode != 'no':
                own = weights[f'filter_fn.{axis}modulation.deltas'][0].abs()
                shift = weights.get(f'filter_fn.{axis}modulation.shift', torch.zeros(1, 1, 1))[0]
                factor = factor * (torch.exp(-t * own) + shift)
            factors.append(factor)
        return factors[0][:, None] * factors[1][None]
    pairs = torch.cat([z[:, None].expand(-1, size, -1), z[None].expand(size, -1, -1)], dim=-1)
    kernel = network(weights, 'filter_fn.implicit_filter.', frequency, pairs)
    if mode == 'no':
        return kernel
    if mode == 'symettric':
        steps = torch.arange(size)
        decay = torch.exp(-(steps[:, None, None] + steps[None, :, None]) * rate['deltas'])
    else:
        decay = torch.exp(-t * rate['Xdeltas'])[:, None] * torch.exp(-t * rate['Ydeltas'])[None]
    shift = weights.get('filter_fn.modulation.shift', torch.zeros(1, 1, 1))
    return kernel * ((decay.sqrt() if sqrt else decay) + shift)


@torch.no_grad()
def run_formula(kwargs, weights, x):
    """The official operator: scaled convolutions of flipped maps, and the parallel branches as they are."""
    order, channels, direction = kwargs.get('order', 2), kwargs['d_model'], kwargs.get('directional_mode', 'standard')
    size = x.shape[1]
    if 'filter' in weights:
        kernels, skips = weights['filter'], weights['bias']
    else:
        kernel = formula_kernel(weights, kwargs.get('window_mode', 'standard'), kwargs.get('sqrt_decay', False))
        kernels = kernel.permute(2, 0, 1).unflatten(0, (order - 1, channels))
        skips = weights['filter_fn.bias'].unflatten(0, (order - 1, channels))
    z = F.linear(x, weights['in_proj.weight'], weights['in_proj.bias']).permute(0, 3, 1, 2)
    z = F.conv2d(z, weights['short_filter.weight'], weights['short_filter.bias'], padding=1, groups=z.shape[1])
    flips = [(), (2, 3), (3,), (2,)] if direction in ('4dir', '4dirp') else [()]
    parts = z.chunk(4, dim=1) if direction == 'parallel' else [z] * len(flips)
    flips = flips * len(parts) if direction == 'parallel' else flips
    outputs = []
    for part, axes in zip(parts, flips, strict=True):
        *gates, v = part.split(channels, dim=1)
        for step in range(order - 1):
            turn = (2, 3) if direction == 'seq' and step == 0 else axes
            u = (gates[order - 1 - step] * v).flip(turn)
            v = naive_long_conv(u, kernels[step] / (2 * size), skips[step], causal=True).flip(turn)
        outputs.append((gates[0] * v).permute(0, 2, 3, 1))
    if direction == 'parallel':
        y = torch.cat(outputs, dim=-1)
    elif direction in ('4dir', '4dirp'):
        y = torch.stack(outputs, dim=-1)
        y = y if direction == '4dir' else y.flatten(-2)
        y = F.linear(y, weights['linear_mix.weight'], weights['linear_mix.bias'])
        y = y.squeeze(-1) if direction == '4dir' else y
    else:
        y = outputs[0]
    return F.linear(y, weights['out_proj.weight'], weights['out_proj.bias'])


def make_keys(kwargs):
    """Names and shapes of the official tensors, in the official order."""
    order, c, n, width = kwargs.get('order', 2), kwargs['d_model'], kwargs['l_max'], kwargs['filter_order']
    joint, mode = kwargs.get('hyena2d_filter', False), kwargs.get('window_mode', 'standard')
    direction, emb_dim = kwargs.get('directional_mode', 'standard'), kwargs.get('emb_dim', 3)
    inner, copies = (order + 1) * c, 4 if direction == 'parallel' else 1
    keys = {'in_proj.weight': [inner, c], 'in_proj.bias': [inner], 'out_proj.weight': [c, copies * c]}
    keys |= {'out_proj.bias': [c], 'short_filter.weight': [copies * inner, 1, 3, 3]}
    keys['short_filter.bias'] = [copies * inner]
    if direction in ('4dir', '4dirp'):
        rows = 1 if direction == '4dir' else c
        keys |= {'linear_mix.weight': [rows, 4 * rows], 'linear_mix.bias': [rows]}
    if kwargs.get('direct_paramtrization'):
        return keys | {'filter': [order, c, n, n], 'bias': [order, c]}
    channels = (order - 1) * c
    keys |= {'filter_fn.bias': [channels], 'filter_fn.pos_emb.z': [1, n, emb_dim], 'filter_fn.pos_emb.t': [1, n, 1]}
    last = 2 * kwargs.get('num_inner_mlps', 2) + 2
    for axis in [''] if joint else 'YX':
        prefix = f'filter_fn.{axis}implicit_filter'
        for i in range(0, last, 2):
            features = width if i else emb_dim * (2 if joint else 1)
            keys |= {f'{prefix}.{i}.weight': [width, features], f'{prefix}.{i}.bias': [width]}
            keys[f'{prefix}.{i + 1}.freq'] = [1, width]
        keys[f'{prefix}.{last}.weight'] = [channels, width]
        names = {'no': [], 'symettric': ['deltas', 'shift']}.get(mode)
        if names is None:
            names = (['Xdeltas', 'Ydeltas'] if joint else ['deltas']) + (['shift'] if mode == 'learn' else [])
        keys |= {f'filter_fn.{axis}modulation.{name}': [1, 1, channels] for name in names}
    return keys


@pytest.mark.parametrize('case', CASES)
def test_recorded_outputs(case, add_row):
    kwargs, weights = CASES[case]['kwargs'], make_weights(CASES[case]['keys'])
    want = torch.from_numpy(OUTPUTS[case])
    x = make_tokens(kwargs['l_max'], kwargs['d_model'], int(OUTPUTS['seed']))
    error = relative_error(run_ours(kwargs, weights, x), want)
    add_row('Parity of Hyena N-D', case=case, error=error)
    assert error < LIMIT
    assert CASES[case]['keys'] == make_keys(kwargs)
    assert relative_error(run_formula(kwargs, weights, x), want) < LIMIT


def test_every_case_is_recorded():
    assert len(CASES) == 10 and set(CASES) == set(OUTPUTS.files) - {'seed'}


JOINT, PRODUCT, DIRECT = dict(hyena2d_filter=True), {}, dict(direct_paramtrization=True)
OTHERS = [
    dict(JOINT, order=3),
    dict(JOINT, order=4, directional_mode='seq', l_max=5),
    dict(JOINT, order=3, directional_mode='4dir'),
    dict(JOINT, order=3, directional_mode='4dirp', window_mode='learn'),
    dict(JOINT, window_mode='learn', sqrt_decay=True),
    dict(JOINT, window_mode='symettric'),
    dict(JOINT, window_mode='symettric', sqrt_decay=True, directional_mode='4dir', order=3),
    dict(JOINT, emb_dim=7, num_inner_mlps=1),
    dict(JOINT, directional_mode='parallel'),
    dict(PRODUCT, directional_mode='parallel', order=3),
    dict(PRODUCT, directional_mode='4dir', window_mode='no'),
    dict(PRODUCT, order=3, directional_mode='seq', window_mode='learn', num_inner_mlps=3),
    dict(PRODUCT, sqrt_decay=True, emb_dim=5),
    dict(DIRECT, order=3),
    dict(DIRECT, directional_mode='4dirp', l_max=6),
    dict(DIRECT, directional_mode='parallel'),
]


@pytest.mark.parametrize('others', OTHERS, ids=lambda kwargs: '-'.join(map(str, kwargs.values())))
def test_other_cases(others):
    kwargs = dict(d_model=4, l_max=7, filter_order=6) | others
    weights = make_weights(make_keys(kwargs))
    x = make_tokens(kwargs['l_max'], 4, seed=3)
    assert relative_error(run_ours(kwargs, weights, x), run_formula(kwargs, weights, x)) < LIMIT


def test_factor_is_absorbed_and_the_skip_is_not_scaled():
    weights = make_weights(CASES['joint']['keys'])
    ours = convert_official_nd(weights)
    torch.testing.assert_close(
        ours['long_conv.filter.mlp.layers.3.weight'] * 20, weights['filter_fn.implicit_filter.6.weight']
    )
    assert torch.equal(ours['long_conv.skip'], weights['filter_fn.bias'])


def test_constant_shift_and_arguments_of_training():
    config = official_nd_config(d_model=4, l_max=5, hyena2d_filter=True, shift=0.2, lr=1e-3, w=10, dropout=0.1)
    mixer = MODELS.build(config).eval()
    assert mixer.dropout.p == 0.1
    window = mixer.long_conv.window(torch.ones(4, 5, 5))
    assert torch.allclose(window[:, 0, 0], torch.tensor(1.2))


@pytest.mark.parametrize(
    'change,error',
    [
        (lambda w: w.pop('in_proj.bias'), 'lack in_proj.bias'),
        (lambda w: w.update(extra=torch.zeros(1)), '1 keys of the operator have no counterpart: extra'),
        (lambda w: w['filter_fn.pos_emb.t'].mul_(2), 'not the normalized position'),
    ],
)
def test_misfits_are_named(change, error):
    weights = make_weights(CASES['joint']['keys'])
    change(weights)
    with pytest.raises(ValueError, match=error):
        convert_official_nd(weights)


@pytest.mark.parametrize(
    'kwargs,error',
    [
        (dict(window_mode='sym'), "window_mode 'sym' is unknown"),
        (dict(window_mode='symettric'), 'the official product filter has no'),
        (dict(directional_mode='up'), "directional_mode 'up' is unknown"),
        (dict(modulate=False), 'without a counterpart: modulate'),
    ],
)
def test_unknown_arguments_are_named(kwargs, error):
    with pytest.raises(ValueError, match=error):
        official_nd_config(d_model=4, l_max=5, **kwargs)
