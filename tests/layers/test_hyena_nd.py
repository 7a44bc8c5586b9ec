"""Hyena N-D against its definition, with flipped maps and the naive convolution, and what each direction may see."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmhyena.layers import HyenaND, MetaFormerBlock
from mmhyena.layers.nd_directions import all_flips
from mmhyena.ops import naive_long_conv

pytestmark = pytest.mark.usefixtures('on_device')

CHANNELS = 3
BY_CHANNEL = dict(type='FourWayDirection', mix='channel')
DIRECTIONS = ['causal', 'alternating', 'four_way', BY_CHANNEL, 'parallel', 'centered']
FILTERS = ['joint', 'product', 'direct']
SIZES = {1: [(5,), (8,), (1,)], 2: [(4, 4), (2, 7)], 3: [(2, 3, 2)]}
CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def name(direction):
    return direction if isinstance(direction, str) else direction['mix']


def make(ndim=2, map_size=4, **kwargs):
    """A mixer in which no parameter hides behind its initial value."""
    torch.manual_seed(0)
    mixer = HyenaND(CHANNELS, map_size, ndim=ndim, filter_width=5, **kwargs).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def branches(mixer, direction, block_index):
    """Which axes each branch flips, before the first long convolution and before the others."""
    every = tuple(range(mixer.ndim))
    if direction == 'alternating':
        return [((every if block_index % 2 == 0 else ()), ())]
    return (
        [(axes, axes) for axes in all_flips(mixer.ndim)]
        if name(direction) in ('four_way', 'channel', 'parallel')
        else [((), ())]
    )


def flip(x, axes):
    return x.flip([axis + 2 for axis in axes])


def naive_hyena_nd(mixer, x, direction, order, block_index):
    """``y = W (x_0 * h_1 (x_1 * h_2 (x_2 ...)))`` on maps that are flipped for each branch."""
    conv = mixer.long_conv
    kernels = conv.kernel(x.shape[1:-1]).chunk(order - 1)
    skips = conv.skip.chunk(order - 1)
    short = mixer.short_conv
    z = mixer.in_proj(x).movedim(-1, 1)
    z = CONVS[mixer.ndim](z, short.weight, short.bias, padding=1, groups=z.shape[1])
    ways = branches(mixer, direction, block_index)
    outputs = []
    for branch, (first, others) in enumerate(ways):
        own = z[:, branch :: len(ways)] if direction == 'parallel' else z
        *gates, v = own.split(CHANNELS, dim=1)
        for step in range(order - 1):
            axes = others if step else first
            u = flip(gates[order - 1 - step] * v, axes)
            v = flip(naive_long_conv(u, kernels[step], skips[step], causal=direction != 'centered'), axes)
        outputs.append((gates[0] * v).movedim(1, -1))
    if direction == 'parallel':
        return mixer.out_proj(torch.cat(outputs, dim=-1))
    if name(direction) == 'four_way':
        mix = conv.direction
        return mixer.out_proj(sum(w * y for w, y in zip(mix.weight, outputs, strict=True)) + mix.bias)
    if name(direction) == 'channel':
        mix = conv.direction
        weights = mix.weight.split(CHANNELS, dim=1)
        return mixer.out_proj(sum(y @ w.T for w, y in zip(weights, outputs, strict=True)) + mix.bias)
    return mixer.out_proj(outputs[0])


@pytest.mark.parametrize('direction', DIRECTIONS, ids=name)
@pytest.mark.parametrize('filter', FILTERS)
@pytest.mark.parametrize('order', [2, 3])
@pytest.mark.parametrize('ndim', [1, 2, 3])
def test_equals_definition_with_every_gradient(ndim, order, filter, direction):
    block_index = order % 2  # one that flips and one that does not
    mixer = make(ndim, order=order, filter=filter, direction=direction, block_index=block_index)
    for size in SIZES[ndim]:
        x = torch.randn(2, *size, CHANNELS, dtype=torch.float64, requires_grad=True)
        got, want = mixer(x), naive_hyena_nd(mixer, x, direction, order, block_index)
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-8)
        inputs, weight = [x, *mixer.parameters()], torch.randn_like(want)
        gots = torch.autograd.grad(got, inputs, weight)
        wants = torch.autograd.grad(want, inputs, weight)
        for a, b in zip(gots, wants, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def seen_by(mixer, size, pixel):
    """Where the output of the long convolution at ``pixel`` depends on its input."""
    branches = mixer.long_conv.direction.branches
    u = torch.randn(1, branches, CHANNELS, *size, dtype=torch.float64, requires_grad=True)
    y = mixer.long_conv(u, 0)
    (grad,) = torch.autograd.grad(y[(..., *pixel)].square().sum(), u)
    return [branch.abs().amax((0, 1)) > 1e-12 for branch in grad.unbind(1)]


def region(size, pixel, axes):
    """The pixels at or before ``pixel`` on every axis, or at or after it on the flipped ``axes``."""
    allowed = torch.ones(size, dtype=torch.bool)
    for axis, (n, p) in enumerate(zip(size, pixel, strict=True)):
        view = [n if other == axis else 1 for other in range(len(size))]
        index = torch.arange(n).view(view)
        allowed &= index >= p if axis in axes else index <= p
    return allowed


@pytest.mark.parametrize('size', [(6,), (4, 5), (3, 2, 4)])
@pytest.mark.parametrize(
    'direction,block_index', [('causal', 0), ('alternating', 0), ('alternating', 1), ('parallel', 0), ('channel', 0)]
)
def test_long_convolution_sees_exactly_its_quadrant(direction, block_index, size):
    ndim = len(size)
    config = BY_CHANNEL if direction == 'channel' else direction
    mixer = make(ndim, map_size=size, filter='direct', direction=config, block_index=block_index)
    if direction in ('parallel', 'channel'):
        branches = all_flips(ndim)
    else:
        branches = [range(ndim) if (direction, block_index) == ('alternating', 0) else ()]
    for pixel in itertools.product(*(sorted({0, n // 2, n - 1}) for n in size)):
        for seen, axes in zip(seen_by(mixer, size, pixel), branches, strict=True):
            assert torch.equal(seen, region(size, pixel, axes)), (pixel, tuple(axes))


@pytest.mark.parametrize('direction', ['four_way', 'centered'])
def test_one_branch_in_all_directions_sees_the_whole_map(direction):
    mixer = make(2, map_size=(4, 5), filter='direct', direction=direction)
    (seen,) = seen_by(mixer, (4, 5), (1, 2))
    if direction == 'four_way':  # the flips of one quadrant kernel meet on the axes and cover the rest
        assert mixer.long_conv.direction.branches == 1
    assert seen.all()


def test_causal_mixer_looks_one_pixel_ahead_by_its_short_convolution_only():
    mixer = make(2, map_size=6)
    x = torch.randn(1, 6, 6, CHANNELS, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(mixer(x)[0, 2, 3].sum(), x)
    seen = grad[0].abs().sum(-1) > 1e-14
    assert seen[:4, :5].all() and not seen[4:].any() and not seen[:, 5:].any()


def test_joint_filter_is_its_formula():
    mixer = make(2, map_size=(3, 5), filter='joint', window='none')
    part = mixer.long_conv.filter
    table = part.position.table  # (5, 3)
    kernel = mixer.long_conv.kernel((3, 5))
    *hidden, last = part.mlp.layers
    for i, j in itertools.product(range(3), range(5)):
        # Rows are the shorter axis: the first, the middle and the last entry of the table.
        x = torch.cat([table[2 * i], table[j]])
        for layer in hidden:
            x = torch.sin(part.sine.frequency * (layer.weight @ x + layer.bias))
        torch.testing.assert_close(kernel[:, i, j], last.weight @ x)


def test_product_filter_has_rank_one_and_joint_filter_has_not():
    for filter, rank in (('product', 1), ('joint', 4)):
        kernel = make(2, map_size=6, filter=filter, window='none').long_conv.kernel((6, 6))
        ranks = torch.linalg.matrix_rank(kernel, rtol=1e-7)
        assert (ranks == 1).all() if rank == 1 else (ranks >= rank).all(), ranks


def window_of(mixer, size):
    window = mixer.long_conv.window
    return window(torch.ones(CHANNELS, *size, dtype=torch.float64))


@pytest.mark.parametrize('filter', ['joint', 'product'])
@pytest.mark.parametrize('window', ['standard', 'sqrt', 'learned', 'symmetric'])
def test_windows_are_their_formulas(window, filter):
    mixer = make(2, map_size=(4, 3), window=window, filter=filter)
    part = mixer.long_conv.window
    got = window_of(mixer, (4, 3))
    for i, j, c in itertools.product(range(4), range(3), range(CHANNELS)):
        if window == 'symmetric':
            want = torch.exp(-(i + j) * part.delta[c].abs()) + part.shift[c]
        else:
            rows, columns = (torch.exp(-t * part.delta[axis, c].abs()) for axis, t in enumerate((i / 3, j / 2)))
            if window == 'learned' and filter == 'product':
                want = (rows + part.shift[0, c]) * (columns + part.shift[1, c])
            elif window == 'learned':
                want = rows * columns + part.shift[c]
            else:
                want = rows * columns if window == 'standard' else (rows * columns).sqrt()
        torch.testing.assert_close(got[c, i, j], torch.as_tensor(want, dtype=torch.float64))
    learnable = dict(part.named_parameters())
    assert set(learnable) == ({'delta', 'shift'} if window in ('learned', 'symmetric') else set())


@pytest.mark.parametrize('window', ['standard', 'sqrt', 'learned', 'symmetric'])
def test_centered_windows_peak_in_the_middle(window):
    mixer = make(2, map_size=4, window=window, direction='centered')
    got = window_of(mixer, (7, 7))
    torch.testing.assert_close(got, got.flip(1, 2))
    assert (got.flatten(1).argmax(1) == 24).all()
    stretched = window_of(mixer, (13, 13))
    torch.testing.assert_close(stretched[:, ::2, ::2], got)


def test_standard_rates_are_the_published_ones():
    delta = HyenaND(8, 4).long_conv.window.delta.abs()
    assert delta.shape == (2, 8)
    assert delta[:, 0].tolist() == pytest.approx([3.07] * 2, abs=0.005)
    assert delta[:, -1].tolist() == pytest.approx([15.35] * 2, abs=0.005)


@pytest.mark.parametrize('filter', FILTERS)
@pytest.mark.parametrize('direction', ['causal', 'centered'])
def test_filter_is_a_function_of_the_normalized_displacement(filter, direction):
    mixer = make(2, map_size=(4, 5), filter=filter, direction=direction)
    small, large = mixer.long_conv.kernel((4, 5)), mixer.long_conv.kernel((7, 9))
    density = (3 / 6) * (4 / 8)  # half the distance between taps on each axis, and the same sum
    torch.testing.assert_close(large[:, ::2, ::2], small * density)


def test_without_resize_the_taps_stay():
    mixer = make(2, map_size=4, filter_resize=False)
    assert mixer.long_conv.kernel((9, 2)).shape == (CHANNELS, 4, 4)
    x = torch.randn(1, 9, 2, CHANNELS, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), naive_hyena_nd(mixer, x, 'causal', 2, 0))


@pytest.mark.parametrize('filter', FILTERS)
@pytest.mark.parametrize('ndim,map_size', [(1, 30), (2, (14, 9)), (3, 5)])
def test_kernels_start_with_norm_one(ndim, map_size, filter):
    mixer = HyenaND(6, map_size, ndim=ndim, filter=filter)
    spatial = (map_size,) * ndim if isinstance(map_size, int) else map_size
    norms = mixer.long_conv.kernel(spatial).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(6), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('direction', DIRECTIONS, ids=name)
@pytest.mark.parametrize('order', [2, 3])
def test_evaluation_equals_training_and_follows_the_weights(direction, order):
    mixer = make(2, order=order, direction=direction)
    x = torch.randn(2, 5, 3, CHANNELS, dtype=torch.float64)
    for _ in range(2):
        want = mixer.train()(x)
        with torch.no_grad():
            torch.testing.assert_close(mixer.eval()(x), want)
            torch.testing.assert_close(mixer(x, mixer.prepare((5, 3))), want)
            for parameter in mixer.parameters():  # the mixture of a direction too
                parameter.add_(0.1)
    assert not torch.allclose(mixer(x), want)


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_kernel_is_made_once_a_step_and_once_in_evaluation():
    mixer = make(2, order=4)
    calls = count_calls(mixer.long_conv.filter)
    mixer(torch.randn(1, 4, 4, CHANNELS, dtype=torch.float64)).sum().backward()
    assert len(calls) == 1
    mixer.eval()
    with torch.no_grad():
        for _ in range(3):
            mixer(torch.randn(2, 4, 4, CHANNELS, dtype=torch.float64))
    assert len(calls) == 2


@pytest.mark.parametrize('direction', ['causal', 'parallel'])
def test_checkpointing_makes_the_kernel_once_and_keeps_gradients(direction):
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        config = dict(type='HyenaND', map_size=4, order=3, direction=direction)
        block = MetaFormerBlock(8, config, with_cp=with_cp).double()
        calls = count_calls(block.token_mixer.long_conv.filter)
        x = torch.randn(2, 4, 5, 8, dtype=torch.float64)
        block(x).square().sum().backward()
        assert len(calls) == 1
        grads.append([parameter.grad for parameter in block.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('direction', DIRECTIONS, ids=name)
def test_autocast(direction, device):
    torch.manual_seed(0)
    mixer = HyenaND(8, 6, direction=direction)
    x = torch.randn(2, 6, 7, 8)
    want = mixer(x)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        got = mixer(x)
    assert got.dtype == torch.bfloat16
    assert (got.float() - want).norm() < 3e-2 * want.norm()
    got.float().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in mixer.parameters())


@pytest.mark.parametrize('direction', DIRECTIONS, ids=name)
def test_float16_maps(direction):
    torch.manual_seed(0)
    mixer = HyenaND(8, 6, direction=direction)
    conv = mixer.long_conv
    u = 100 * torch.randn(2, conv.direction.branches, 8, 6, 7)  # products of such numbers overflow float16
    want, got = conv(u), conv(u.half())
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), want, rtol=2e-2, atol=2.0)


def test_dropout_is_before_each_long_convolution():
    mixer = make(2, order=3, dropout=0.5)
    calls = count_calls(mixer.dropout)
    x = torch.randn(1, 4, 4, CHANNELS, dtype=torch.float64)
    first, second = mixer(x), mixer(x)
    assert len(calls) == 4 and not torch.allclose(first, second)
    assert torch.equal(mixer.eval()(x), mixer(x))


@pytest.mark.parametrize('filter', FILTERS)
@pytest.mark.parametrize('direction', DIRECTIONS, ids=name)
def test_every_tensor_has_one_name(filter, direction):
    mixer = HyenaND(4, 5, filter=filter, direction=direction, window='learned')
    tensors = [*mixer.parameters(), *mixer.buffers()]
    assert len(tensors) == len(mixer.state_dict())
    assert {'long_conv.skip', 'long_conv.window.delta'} <= set(mixer.state_dict())


def test_parameter_counts_of_the_reference():
    """Reference: DeiT-Ti 5.717M, with the joint filter 6.042M, with the product filter 6.290M, over 12 blocks."""
    attention = 4 * 192 * 192 + 4 * 192
    for filter, total in (('joint', 6.042), ('product', 6.290)):
        mixer = HyenaND(192, 14, filter=filter)
        count = 5_717_416 + 12 * (sum(p.numel() for p in mixer.parameters()) - attention)
        assert count / 1e6 == pytest.approx(total, abs=0.002), count


@pytest.mark.parametrize(
    'kwargs,error',
    [
        (dict(map_size=4, ndim=4), 'ndim must be 1, 2 or 3'),
        (dict(map_size=4, order=1), 'order must be at least 2'),
        (dict(map_size=(4, 4, 4)), 'map_size must be 2 positive integers'),
        (dict(map_size=0), 'map_size must be 2 positive integers'),
        (dict(map_size=4, filter='full'), "filter 'full' is unknown; choose one of joint, product, direct"),
        (dict(map_size=4, window='hann'), "window 'hann' is unknown"),
        (dict(map_size=4, direction='up'), "direction 'up' is unknown"),
        (dict(map_size=4, filter=dict(type='NoFilter')), "'NoFilter' is not registered"),
        (dict(map_size=4, direction=dict(type='FourWayDirection', mix='all')), "mix must be 'direction' or 'channel'"),
    ],
)
def test_bad_arguments_are_named(kwargs, error):
    with pytest.raises(ValueError, match=error):
        HyenaND(4, **kwargs)


def test_wrong_number_of_axes_is_named():
    with pytest.raises(ValueError, match='HyenaND of 2 axes takes'):
        HyenaND(4, 4)(torch.zeros(1, 4, 4))
