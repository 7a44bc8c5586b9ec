"""IBiT's attention: parity with the published layer, its mask on any grid, and its options."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhyena.checkpoints.official_ibit import convert_official_ibit_layer
from mmhyena.layers.learned_mask_attention import LearnedMaskAttention, mask_target, roll_index

pytestmark = pytest.mark.usefixtures('on_device')

GOLDEN = Path(__file__).parents[1] / 'data/golden'


@pytest.fixture(scope='module')
def golden():
    spec = importlib.util.spec_from_file_location('official_weights_ibit', GOLDEN / 'official_weights_ibit.py')
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    facts = json.loads((GOLDEN / 'ibit_layer.json').read_text())
    facts['arrays'] = dict(np.load(GOLDEN / 'ibit_layer.npz'))
    facts['state'] = {k: torch.tensor(weights.official_ibit_tensor(k, shape)) for k, shape in facts['keys'].items()}
    tokens = weights.official_tokens(facts['seed'], (2, 1 + facts['grid'] ** 2, facts['dim']))
    facts['tokens'] = torch.tensor(tokens)
    return facts


def official_layer(golden, **kwargs):
    layer = LearnedMaskAttention(
        golden['dim'], golden['grid'], golden['heads'], golden['rank'], class_token=True, **kwargs
    )
    layer.load_state_dict(convert_official_ibit_layer(golden['state']))
    return layer


@pytest.mark.parametrize('roll', ['aligned', 'official'])
def test_parity_with_published_layer(golden, roll, add_row):
    want = torch.from_numpy(golden['arrays'][roll])
    layer = official_layer(golden, roll=roll)
    got = layer(golden['tokens'].to(layer.qkv.weight.device)).detach().cpu()
    error = float((got - want).norm() / want.norm())
    add_row('IBiT layer against the official one', roll=roll, error=error)
    assert error < 1e-5


def test_rolls_differ(golden):
    aligned, official = (torch.tensor(golden['arrays'][roll]) for roll in ('aligned', 'official'))
    assert (aligned - official).norm() / official.norm() > 0.1


def test_published_gather_index_and_target(golden):
    patches = golden['grid'] ** 2
    assert torch.equal(roll_index(patches, roll='official'), torch.from_numpy(golden['arrays']['roll_official']))
    torch.testing.assert_close(mask_target((golden['grid'],) * 2).float(), torch.from_numpy(golden['arrays']['target']))


def test_converter_names_missing_and_unknown_keys(golden):
    state = dict(golden['state'])
    value = state.pop('mask1')
    with pytest.raises(ValueError, match='lacks mask1'):
        convert_official_ibit_layer(state)
    with pytest.raises(ValueError, match='without a counterpart: mask3'):
        convert_official_ibit_layer(state | dict(mask1=value, mask3=value))


def test_svd_reaches_the_published_error():
    layer = LearnedMaskAttention(6, 14, num_heads=3, rank=9, class_token=True)
    stored = layer.mask_rows.transpose(1, 2) @ layer.mask_columns
    error = (stored - mask_target((14, 14)).to(stored.device)).square().mean((1, 2))
    torch.testing.assert_close(error, torch.full((3,), 5.255e-4, dtype=error.dtype), rtol=1e-4, atol=0)


@pytest.mark.parametrize('class_token', [False, True])
@pytest.mark.parametrize('grid', [(3, 5), (4, 4), (1, 6)])
def test_full_rank_mask_is_the_distance_decay(grid, class_token):
    tokens = grid[0] * grid[1] + class_token
    layer = LearnedMaskAttention(6, grid, num_heads=2, rank=tokens, class_token=class_token)
    points = torch.cartesian_prod(*(torch.arange(float(n)) for n in grid))
    want = torch.exp(-0.5 * (points[:, None] - points).norm(dim=-1))
    mask = layer.prepare(grid)
    torch.testing.assert_close(mask[1][class_token:, class_token:], want, rtol=1e-4, atol=1e-4)
    if class_token:
        torch.testing.assert_close(mask[0, 0], torch.ones(tokens), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mask[0, :, 0], torch.ones(tokens), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('class_token', [False, True])
@pytest.mark.parametrize('grid', [(7, 9), (3, 2), (5, 1), (2, 12)])
def test_mask_of_offsets_alone_is_the_same_function_on_every_grid(grid, class_token):
    """A mask that depends on the offset only must do so on other grids too, as far as offsets were trained."""
    layer = LearnedMaskAttention(6, (5, 6), num_heads=2, rank=30 + class_token, class_token=class_token)
    mask = layer.prepare(grid)[:, class_token:, class_token:]
    points = torch.cartesian_prod(*(torch.arange(n) for n in grid))
    offset = points - points[:, None]
    limit = torch.tensor([4, 5])
    want = torch.exp(-0.5 * offset.clamp(-limit, limit).float().norm(dim=-1))
    torch.testing.assert_close(mask[0], want, rtol=1e-4, atol=1e-4)


def test_rebuilt_mask_takes_trained_pairs_of_the_same_offset():
    layer = LearnedMaskAttention(4, (2, 3), num_heads=1, rank=6)
    with torch.no_grad():
        layer.mask_rows.normal_()
        layer.mask_columns.normal_()
    trained = layer.prepare((2, 3))[0].view(2, 3, 2, 3)
    rebuilt = layer.prepare((4, 3))[0].view(4, 3, 4, 3)
    assert torch.equal(rebuilt[0, 1, 1, 0], trained[0, 1, 1, 0])  # one row down: only the upper row has one below
    assert torch.equal(rebuilt[2, 1, 3, 0], trained[0, 1, 1, 0])
    assert torch.equal(rebuilt[3, 2, 3, 2], trained[1, 2, 1, 2])  # the last row stays the last row
    assert torch.equal(rebuilt[0, 0, 3, 1], trained[0, 0, 1, 1])  # three rows down: the farthest offset trained


def test_class_row_and_column_are_resampled():
    layer = LearnedMaskAttention(4, (2, 2), num_heads=1, rank=5, class_token=True)
    with torch.no_grad():
        layer.mask_rows.normal_()
        layer.mask_columns.normal_()
    trained, rebuilt = layer.prepare((2, 2))[0], layer.prepare((3, 3))[0]
    assert torch.equal(rebuilt[0, 0], trained[0, 0])
    for old, new in ((trained[0, 1:], rebuilt[0, 1:]), (trained[1:, 0], rebuilt[1:, 0])):
        old, new = old.view(2, 2), new.view(3, 3)
        torch.testing.assert_close(new[::2, ::2], old)
        torch.testing.assert_close(new[1, 1], old.mean())


def test_softmax_of_a_positive_mask_is_a_bias_on_the_scores():
    torch.manual_seed(0)
    layer = LearnedMaskAttention(8, (3, 3), num_heads=2, rank=9, normalization='softmax')
    x = torch.randn(2, 3, 3, 8)
    q, k, v = layer.qkv(x.flatten(1, 2)).view(2, 9, 3, 2, 4).permute(2, 0, 3, 1, 4)
    mask = layer.prepare((3, 3))
    assert (mask > 0).all()
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.log().expand(2, -1, -1, -1))
    want = layer.proj(y.transpose(1, 2).flatten(2)).view_as(x)
    torch.testing.assert_close(layer(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('normalization', ['frobenius', 'softmax'])
def test_gradients_reach_every_parameter_on_another_grid(normalization):
    layer = LearnedMaskAttention(8, (4, 4), num_heads=2, rank=3, normalization=normalization, class_token=True)
    x = torch.randn(2, 1 + 3 * 7, 8)
    layer(x, layer.prepare((3, 7))).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def test_half_precision_scores_do_not_overflow_the_norm():
    layer = LearnedMaskAttention(8, (4, 4), num_heads=2, rank=3).bfloat16()
    y = layer(200 * torch.randn(1, 4, 4, 8).bfloat16())
    assert y.dtype == torch.bfloat16 and torch.isfinite(y).all()


@pytest.mark.parametrize(
    'kwargs,message',
    [
        (dict(num_heads=5), 'multiple of num_heads'),
        (dict(roll='other'), 'roll must be'),
        (dict(normalization='other'), 'normalization must be'),
        (dict(rank=0), 'rank must be 1 to 16'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LearnedMaskAttention(6, 4, **kwargs)


def test_class_token_before_an_unknown_grid_is_refused():
    layer = LearnedMaskAttention(6, 4, class_token=True, rank=2)
    with pytest.raises(ValueError, match='pass the mask of prepare'):
        layer(torch.randn(1, 26, 6))
